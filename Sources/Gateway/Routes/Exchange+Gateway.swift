package import GrpcBridge
import HTTPServer

extension Exchange: PasswordSource {
  package var basicCredentials: BasicCredentials? {
    hasHead ? RequestCredentials.basicCredentials(head.authorization) : nil
  }
}

extension Exchange {
  /// What the calls that are made for it belong to, and what hears of them; nil if neither is wanted.
  var trace: CallTrace? { context as? CallTrace }
}

extension RequestHead {
  /// The trace that the request belongs to; nil if it has none, or none that is well formed.
  var traceContext: TraceContext? {
    guard let traceParent else { return nil }
    return TraceContext(parent: traceParent, state: traceState.joined(separator: [UInt8(ascii: ",")]).map { $0 })
  }
}
