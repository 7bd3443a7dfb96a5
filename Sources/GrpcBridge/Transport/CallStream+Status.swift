import ByteBuffers
internal import CNghttp2

extension GRPCStatus {
  /// Whether a member reports that it has no leader.
  var isLackOfLeader: Bool { origin == .server && message == EtcdMessage.noLeader }

  /// Whether a member reports that it executes no calls for now, though others may.
  var isOfNoUse: Bool { isLackOfLeader || isRefusalOfLearner }

  /// Whether a member refuses a call because it is a learner.
  var isRefusalOfLearner: Bool { origin == .server && message == EtcdMessage.notSupportedForLearner }

  /// Whether a member refuses a call because only the leader executes it.
  var isForLeader: Bool { origin == .server && message == EtcdMessage.notLeader }
}

extension CallStream {
  /// Takes a header or trailer of the response (gRPC over HTTP/2, "Responses").
  mutating func take(header name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>) {
    switch name.count {
    case 7 where name.isEqual(to: ":status"):
      httpStatus = Self.number(value) ?? 0
    case 12 where name.isEqual(to: "content-type"):
      let type: StaticString = "application/grpc"
      isGRPC = UnsafeBufferPointer(rebasing: value.prefix(type.utf8CodeUnitCount)).isEqual(to: type)
    case 11 where name.isEqual(to: "grpc-status"):
      grpcStatus = Self.number(value) ?? -1
    case 12 where name.isEqual(to: "grpc-message"):
      grpcMessage = percentDecoded(value)
    default:
      break
    }
  }

  /// A status of up to nine digits; nil for anything else.
  private static func number(_ text: UnsafeBufferPointer<UInt8>) -> Int? {
    guard (1...9).contains(text.count) else { return nil }
    var number = 0
    for byte in text {
      guard (0x30...0x39).contains(byte) else { return nil }
      number = number * 10 + Int(byte - 0x30)
    }
    return number
  }

  /// Whether the response is one of gRPC, by its headers (gRPC over HTTP/2, "Responses").
  var carriesMessages: Bool { httpStatus == 200 && isGRPC }

  /// Whether the response's head has come, and no gRPC server would send it.
  var isKnownForeign: Bool { httpStatus >= 200 && !carriesMessages && grpcStatus == nil }

  /// The call's status after its stream was closed with the HTTP/2 error `code`.
  func status(closedWith code: UInt32) -> GRPCStatus {
    if let number = grpcStatus {
      guard var known = GRPCCode(rawValue: number) else {
        return GRPCStatus(.unknown, "etcd sent an invalid answer: its grpc-status is not a number. \(grpcMessage)")
      }
      if known == .unknown && grpcMessage == EtcdMessage.rawDeadlineExceeded { known = .deadlineExceeded }
      guard known == .ok else { return GRPCStatus(known, grpcMessage, origin: .server) }
      guard reader.isComplete else { return GRPCStatus(.internal, "etcd answered OK without a whole message") }
      return GRPCStatus(.ok, origin: .server)
    }
    if httpStatus != 0 && !carriesMessages {
      // A proxy answers so if it has lost the member behind it.
      let isLoss = [502, 503, 504].contains(httpStatus)
      return GRPCStatus(
        Self.code(forHTTPStatus: httpStatus), "the upstream answered HTTP \(httpStatus), not gRPC",
        origin: isLoss ? .lost : .client)
    }
    let name = String(cString: nghttp2_http2_strerror(code))
    return GRPCStatus(Self.code(forHTTP2Error: code), "the upstream ended the call without a gRPC status (\(name))")
  }

  /// gRPC documentation, "HTTP to gRPC Status Code Mapping".
  private static func code(forHTTPStatus status: Int) -> GRPCCode {
    switch status {
    case 400: .internal
    case 401: .unauthenticated
    case 403: .permissionDenied
    case 404: .unimplemented
    case 429, 502, 503, 504: .unavailable
    default: .unknown
    }
  }

  /// gRPC over HTTP/2, "Errors": the codes of RST_STREAM.
  private static func code(forHTTP2Error code: UInt32) -> GRPCCode {
    switch code {
    case NGHTTP2_REFUSED_STREAM.rawValue: .unavailable
    case NGHTTP2_CANCEL.rawValue: .canceled
    case NGHTTP2_ENHANCE_YOUR_CALM.rawValue: .resourceExhausted
    case NGHTTP2_INADEQUATE_SECURITY.rawValue: .permissionDenied
    default: .internal
    }
  }

  static func isRefused(_ code: UInt32) -> Bool { code == NGHTTP2_REFUSED_STREAM.rawValue }
}
