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

  /// The same of its body.
  static func badBody(_ fault: TranscodingError) -> RequestError { .badRequest("the request body: \(fault)") }
}

extension HTTPResponse {
  static func error(_ refusal: RequestError) -> HTTPResponse {
    .error(refusal.status, refusal.code, refusal.message, headers: refusal.headers)
  }
}
