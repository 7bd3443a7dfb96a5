import GrpcBridge

/// Answers with an error that is known from the head, once the body has gone by.
final class ConstantResponseHandler: RequestHandler {
  private unowned let exchange: Exchange
  private let error: RequestError

  init(_ exchange: Exchange, _ error: RequestError) {
    self.exchange = exchange
    self.error = error
  }

  var isForEtcd: Bool { false }

  func receivedEnd() { exchange.respond(.error(error)) }
  func clientIsGone() {}
}
