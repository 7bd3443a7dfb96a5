import EventLoop
import GrpcBridge
import HTTPServer

/// A part of a trace that is over (OpenTelemetry, "Span"). It has nothing that a client has sent but the method and the
/// IDs of its trace: so spans take as much memory each, and tell no key, user or token.
enum Span: Sendable {
  /// A request, or the stream that it has asked for.
  case request(RequestSpan)
  /// A call to etcd.
  case call(CallSpan)
}

/// A request as a span, from the end of its head to the end of its answer.
struct RequestSpan: Sendable {
  let trace: TraceID
  let id: UInt64
  /// The client's span; nil if the trace begins here.
  let parent: UInt64?
  /// By `preciseTime`.
  let start: UInt64
  var end: UInt64
  let method: HTTPMethod
  /// The path's template; nil if it has no route.
  let route: String?
  /// That of the answer; 0 if the client left before.
  var status: UInt32
  /// How a stream has ended; nil for what is none.
  var streamEnd: GRPCCode?
  let isSecure: Bool
  let isHTTP10: Bool
  /// Nil for a Unix socket's.
  let client: IPAddress?

  /// - Returns: nil if the request's trace is not recorded.
  init?(_ exchange: Exchange, route: String) {
    guard let trace = exchange.trace, let context = trace.context, let span = trace.span else { return nil }
    self.trace = context.trace
    id = span
    parent = context.isOfClient ? context.span : nil
    start = exchange.record.start
    end = start
    method = exchange.head.method
    self.route = exchange.record.route > RouteTable.asteriskTemplate ? route : nil
    status = exchange.record.status
    isSecure = exchange.isSecure
    isHTTP10 = exchange.head.isHTTP10
    client = exchange.clientAddress
  }

  /// What has gone wrong on the side of the gateway and etcd (OpenTelemetry, "Semantic conventions for HTTP spans",
  /// "Status"); nil if nothing has.
  var error: String? {
    if status >= 500 { return "\(status)" }
    switch streamEnd {
    case .unknown, .deadlineExceeded, .unimplemented, .internal, .unavailable, .dataLoss: return streamEnd?.label
    default: return nil
    }
  }
}
