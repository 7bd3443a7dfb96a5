import GrpcBridge
import HTTPServer

/// The time limits of calls, in milliseconds.
struct TimeLimits: Sendable {
  /// For a call whose client sets none.
  let standard: GRPCTimeout
  /// The maximum that a client may set.
  let most: GRPCTimeout

  init(standard: UInt64 = 30_000, most: UInt64 = 600_000) {
    self.standard = GRPCTimeout(milliseconds: standard)
    self.most = GRPCTimeout(milliseconds: most)
  }

  /// The limit of one call: the client's `Grpc-Timeout` (in gRPC's form: `100m`, `5S`, `1H`) or `Request-Timeout`
  /// (seconds, such as `5` or `0.5`), up to the maximum; otherwise the default. A call that waits for another client
  /// has no limit unless its client sets one.
  ///
  /// - Throws: ``RequestError`` if a header is malformed.
  func limit(of exchange: Exchange, waits: Bool) throws(RequestError) -> GRPCTimeout? {
    guard let asked = try Self.asked(by: exchange) else { return waits ? nil : standard }
    return waits || asked.milliseconds < most.milliseconds ? asked : most
  }

  private static func asked(by exchange: Exchange) throws(RequestError) -> GRPCTimeout? {
    if let header = exchange.head.grpcTimeout {
      guard let timeout = GRPCTimeout(headerValue: header) else {
        throw .badRequest("Grpc-Timeout: expected up to 8 digits and one of H, M, S, m, u, n")
      }
      return timeout
    }
    if let header = exchange.head.requestTimeout {
      // As JSON writes numbers, and so generated clients write this one.
      let text = String(decoding: header, as: UTF8.self)
      guard let seconds = Double(decimal: text, mayHaveExponent: true), seconds > 0, seconds < 1e9 else {
        throw .badRequest("Request-Timeout: expected a number of seconds above 0 and below 1000000000")
      }
      return GRPCTimeout(milliseconds: max(1, UInt64(seconds * 1000)))
    }
    return nil
  }
}
