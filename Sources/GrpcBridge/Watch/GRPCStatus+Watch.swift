extension GRPCStatus {
  /// A watch's end by the reason that etcd gives: a gRPC status as text, or only an error's message.
  package init(watchCanceledBecause reason: String) {
    self =
      reason.isEmpty
      ? GRPCStatus(.canceled, EtcdMessage.watchCanceled, origin: .server)
      : GRPCStatus(text: reason) ?? GRPCStatus(.unknown, reason, origin: .server)
  }

  /// Reads a status as Go's gRPC prints it: `rpc error: code = PermissionDenied desc = etcdserver: permission denied`.
  fileprivate init?(text: String) {
    let prefix = "rpc error: code = "
    let middle = " desc = "
    guard text.hasPrefix(prefix) else { return nil }
    let rest = text.dropFirst(prefix.count)
    guard let blank = rest.firstIndex(of: " "), rest[blank...].hasPrefix(middle) else { return nil }
    let name = rest[..<blank]
    let code = GRPCCode.allCases.first { "\($0)".uppercased() == name.uppercased() }
    self.init(code ?? .unknown, String(rest[blank...].dropFirst(middle.count)), origin: .server)
  }
}
