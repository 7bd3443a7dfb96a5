import GrpcBridge
import HTTPServer

/// Answers with an error that is known from the head, after the body has been read.
final class ConstantResponseHandler: RequestHandler {
  private unowned let exchange: Exchange
  private let error: RequestError

  init(_ exchange: Exchange, _ error: RequestError) {
    self.exchange = exchange
    self.error = error
  }

  var needsAllowedHost: Bool { false }

  func receivedEnd() { exchange.refuse(error) }
  func clientIsGone() {}
}
