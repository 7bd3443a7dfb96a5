import GrpcBridge
import HTTPServer

extension GRPCCode {
  /// The HTTP status of a gRPC status, as in etcd's own gateway.
  var httpStatus: UInt32 {
    switch self {
    case .ok: 200
    case .canceled: 499
    case .unknown: 500
    case .invalidArgument: 400
    case .deadlineExceeded: 504
    case .notFound: 404
    case .alreadyExists: 409
    case .permissionDenied: 403
    case .unauthenticated: 401
    case .resourceExhausted: 429
    case .failedPrecondition: 400
    case .aborted: 409
    case .outOfRange: 400
    case .unimplemented: 501
    case .internal: 500
    case .unavailable: 503
    case .dataLoss: 500
    }
  }
}

extension GRPCStatus {
  /// The HTTP status, and the header fields that belong to it.
  ///
  /// - Parameter hadCredentials: whether the request had credentials of any kind.
  func httpStatus(hadCredentials: Bool) -> (status: UInt32, headers: HTTPResponse.Headers) {
    switch (origin, code, message) {
    case (.throttled(let seconds), _, _): (429, [("Retry-After", "\(seconds)")])
    // etcd has codes for these errors, but sends them as Unknown.
    case (.server, _, EtcdMessage.requestTooManyRequests): (429, [("Retry-After", "1")])
    // For etcd's own two limits (`--max-request-bytes`, and that of gRPC), which the gateway does not know.
    case (.server, _, EtcdMessage.requestTooLarge): (413, [])
    case (.server, .resourceExhausted, _) where message.hasPrefix("grpc: received message larger than max"): (413, [])
    case (.server, .unknown, EtcdMessage.notPrimary): (503, [("Retry-After", "1")])
    case (.login, _, _),
      (.server, .unknown, EtcdMessage.rawInvalidAuthToken),
      (.server, .invalidArgument, EtcdMessage.userEmpty) where !hadCredentials,
      (.server, .unknown, EtcdMessage.rawUserEmpty) where !hadCredentials:
      (401, [])
    // The second is from etcd's own lock and election services.
    case (.server, .unknown, EtcdMessage.rawPermissionDenied), (.server, .unknown, EtcdMessage.permissionDenied):
      (403, [])
    // There is no connection to etcd: nothing was executed.
    case (.client, .unavailable, _): (503, [("Retry-After", "1")])
    // Not from etcd: the gateway's error about an answer that etcd would not give (RFC 9110, section 15.6.3).
    case (.client, .internal, _), (.client, .unknown, _): (502, [])
    default: (code.httpStatus, [])
    }
  }
}

extension HTTPResponse {
  /// The answer to a call that ended with an error.
  static func error(_ status: GRPCStatus, hadCredentials: Bool) -> HTTPResponse {
    let (code, headers) = status.httpStatus(hadCredentials: hadCredentials)
    return .error(code, status.code, status.message, headers: headers)
  }
}
