/// Why a request is refused: an error of HTTP, which the service turns into an answer (``HTTPService/response(to:)``).
package struct RequestError: Error, Sendable {
  package let status: UInt32
  package let message: String
  package let headers: HTTPResponse.Headers
  /// The service's number of the error; nil for the number that belongs to the status.
  package let code: Int?

  package init(_ status: UInt32, _ message: String, headers: HTTPResponse.Headers = [], code: Int? = nil) {
    self.status = status
    self.message = message
    self.headers = headers
    self.code = code
  }

  /// The request cannot be understood.
  package static func badRequest(_ message: String) -> RequestError { RequestError(400, message) }

  /// The request would take more memory than is left for clients.
  package static var shortage: RequestError {
    RequestError(503, "\(MemoryAccount.shortage)", headers: [("Retry-After", "1")])
  }
}
