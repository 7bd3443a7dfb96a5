import ByteBuffers
import GrpcBridge
import HTTPServer
import Transcoding

extension RequestError {
  init(_ status: UInt32, _ code: GRPCCode, _ message: String, headers: HTTPResponse.Headers = []) {
    self.init(status, message, headers: headers, code: code.rawValue)
  }

  /// The gRPC code in the answer's body: its own, or the one that comes closest to its status.
  var grpcCode: GRPCCode {
    if let code, let own = GRPCCode(rawValue: code) { return own }
    return switch status {
    case 401: .unauthenticated
    case 403, 421: .permissionDenied
    case 404: .notFound
    case 405: .unimplemented
    case 408: .deadlineExceeded
    case 409: .aborted
    case 412: .failedPrecondition
    case 413, 429: .resourceExhausted
    case 500...: status == 503 ? .resourceExhausted : .internal
    default: .invalidArgument
    }
  }

  /// There is no route at `path`.
  ///
  /// - Parameter isAdmin: whether the request came by an address for operators.
  static func nothing(at path: HeadBytes, isAdmin: Bool = false) -> RequestError {
    let way =
      if isAdmin {
        "this address (--admin-listen) serves only /, /status, /metrics, /livez, /readyz and /health"
      } else if path.starts(with: "/v2/".utf8) {
        "etcd's API v2 is not served; use /keys/KEY in place of /v2/keys/KEY (docs/from-etcd-v2.md)"
      } else if path.starts(with: "/v3".utf8) {
        "etcd has no call with this path; /openapi.json lists its calls, each a POST"
      } else {
        "keys are at /keys/KEY, etcd's own API is below /v3/, and /openapi.json lists every path"
      }
    return RequestError(404, "Not Found: \(way)")
  }

  /// The path does not have this method.
  ///
  /// - Parameter allow: the methods that it has, as in the `Allow` header.
  static func wrongMethod(allow: String, isRPC: Bool) -> RequestError {
    let body = isRPC ? ", with the request as JSON in its body" : ""
    return RequestError(
      405, "Method Not Allowed: this path takes \(allow)\(body)", headers: [("Allow", allow)])
  }

  /// The request's body is malformed.
  static func badBody(_ fault: TranscodingError) -> RequestError { .badRequest("the request body: \(fault)") }
}
