import GrpcBridge

/// Answers with an error that is known from the head, once the body has gone by.
final class ConstantResponseHandler: RequestHandler {
  private unowned let exchange: Exchange
  private let status: UInt32
  private let code: GRPCCode
  private let message: String
  private let headers: HTTPResponse.Headers

  init(
    _ exchange: Exchange, _ status: UInt32, _ code: GRPCCode, _ message: String, headers: HTTPResponse.Headers = []
  ) {
    self.exchange = exchange
    self.status = status
    self.code = code
    self.message = message
    self.headers = headers
  }

  var isForEtcd: Bool { false }

  func receivedEnd() { exchange.respond(.error(status, code, message, headers: headers)) }
  func clientIsGone() {}
}
