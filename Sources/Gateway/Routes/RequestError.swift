import GrpcBridge
import Transcoding

/// Why a request is answered with an error without asking etcd.
struct RequestError: Error, Sendable {
  let status: UInt32
  let code: GRPCCode
  let message: String
  let headers: HTTPResponse.Headers

  init(_ status: UInt32, _ code: GRPCCode, _ message: String, headers: HTTPResponse.Headers = []) {
    self.status = status
    self.code = code
    self.message = message
    self.headers = headers
  }

  /// The request cannot be understood.
  static func badRequest(_ message: String) -> RequestError { RequestError(400, .invalidArgument, message) }

  /// There is nothing at `path`.
  ///
  /// - Parameter isAdmin: whether it was looked for at an address for operators.
  static func nothing(at path: HeadBytes, isAdmin: Bool = false) -> RequestError {
    let way =
      if isAdmin {
        "/metrics, /livez, /readyz and /health are what there is at this address (--admin-listen)"
      } else if path.starts(with: "/v2/".utf8) {
        "etcd's API v2 is not served; what was /v2/keys/KEY is /keys/KEY (docs/from-etcd-v2.md)"
      } else if path.starts(with: "/v3".utf8) {
        "no call of etcd's has this path; /openapi.json lists them, each is a POST"
      } else {
        "keys are at /keys/KEY, etcd's own API is below /v3/, and /openapi.json lists every path"
      }
    return RequestError(404, .notFound, "Not Found: \(way)")
  }

  /// The path is not one for this method.
  ///
  /// - Parameter allow: those that it is for, as the `Allow` header names them.
  static func wrongMethod(allow: String, isRPC: Bool) -> RequestError {
    let body = isRPC ? ", with the request as JSON in its body" : ""
    return RequestError(
      405, .unimplemented, "Method Not Allowed: this path takes \(allow)\(body)", headers: [("Allow", allow)])
  }

  /// The same of its body.
  static func badBody(_ fault: TranscodingError) -> RequestError { .badRequest("the request body: \(fault)") }
}

extension HTTPResponse {
  static func error(_ refusal: RequestError) -> HTTPResponse {
    .error(refusal.status, refusal.code, refusal.message, headers: refusal.headers)
  }
}
