import EventLoop
import GrpcBridge
import HTTPServer

/// A finished part of a trace (OpenTelemetry, "Span"). From the client it has only the method and the IDs of the trace:
/// so all spans take the same memory, and none reveals a key, user or token.
enum Span: Sendable {
  /// A request, or the stream that it has begun.
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
  /// The status of the answer; 0 if the client disconnected before it.
  var status: UInt32
  /// The end of a stream; nil if it is none.
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

  /// The fault on the side of the gateway and etcd (OpenTelemetry, "Semantic conventions for HTTP spans", "Status");
  /// nil if there is none.
  var error: String? {
    if status >= 500 { return "\(status)" }
    switch streamEnd {
    case .unknown, .deadlineExceeded, .unimplemented, .internal, .unavailable, .dataLoss: return streamEnd?.label
    default: return nil
    }
  }
}
