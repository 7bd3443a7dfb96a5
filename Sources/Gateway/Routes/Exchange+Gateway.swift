package import GrpcBridge
import HTTPServer

extension Exchange: PasswordSource {
  package var basicCredentials: BasicCredentials? {
    hasHead ? RequestCredentials.basicCredentials(head.authorization) : nil
  }
}

extension Exchange {
  /// The trace of the request's calls, which also measures them; nil if neither is needed.
  var trace: CallTrace? { context as? CallTrace }
}

extension RequestHead {
  /// The trace of the request; nil if it has no well-formed one.
  var traceContext: TraceContext? {
    guard let traceParent else { return nil }
    return TraceContext(parent: traceParent, state: traceState.joined(separator: [UInt8(ascii: ",")]).map { $0 })
  }
}
