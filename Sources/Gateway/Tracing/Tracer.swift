import EventLoop
import GrpcBridge
import HTTPServer

/// Makes the spans of a shard's requests and of their calls to etcd (`--otlp-endpoint`). Belongs to the shard's loop.
///
/// The spans that end in a turn of the loop are handed over together, at its end or when they are enough for an export.
final class Tracer: CallRecorder {
  private let queue: SpanQueue
  /// A trace that begins here is recorded if the last 56 bits of its ID are at least this number (W3C Trace Context
  /// Level 2, "Random Trace ID Flag": these bits are random).
  private let threshold: UInt64
  private var traceNumbers = (high: UniqueNumbers(), low: UniqueNumbers())
  private var spanNumbers = UniqueNumbers()
  private var ended: [Span] = []
  private static let randomBits = 56

  /// - Parameter ratio: the share of the traces beginning here that is recorded, from 0 to 1.
  init(_ queue: SpanQueue, ratio: Double) {
    self.queue = queue
    threshold = UInt64((1 - min(max(ratio, 0), 1)) * Double(UInt64(1) << Self.randomBits))
  }

  /// The trace of a request's calls: its client's, recorded if the client's is, or one that begins here.
  func trace(_ context: TraceContext?) -> CallTrace {
    let span = nextSpan()
    if let context {
      return context.isSampled ? CallTrace(context, span: span, recorder: self) : CallTrace(context)
    }
    let id = TraceID(high: Self.next(&traceNumbers.high), low: traceNumbers.low.next())
    let isSampled = id.low & (1 << UInt64(Self.randomBits) - 1) >= threshold
    let own = TraceContext(beginning: id, span: span, isSampled: isSampled)
    return isSampled ? CallTrace(own, span: span, recorder: self) : CallTrace(own)
  }

  func nextSpan() -> UInt64 { Self.next(&spanNumbers) }

  /// 0 means no ID.
  private static func next(_ numbers: inout UniqueNumbers) -> UInt64 {
    let number = numbers.next()
    return number == 0 ? numbers.next() : number
  }

  // MARK: - Ended spans

  func record(_ span: CallSpan) { record(.call(span)) }

  func record(_ span: Span) {
    ended.append(span)
    if ended.count >= SpanQueue.batch { flush() }
  }

  /// A request is over, at `end` by `preciseTime`. If it has become a stream, its span ends with the stream, not here.
  func ended(_ exchange: Exchange, at end: UInt64, route: String) {
    guard exchange.record.transport == nil, var span = RequestSpan(exchange, route: route) else { return }
    span.end = end
    record(.request(span))
  }

  /// Hands over the spans that have ended since the last time.
  func flush() {
    guard !ended.isEmpty else { return }
    queue.append(ended)
    ended.removeAll(keepingCapacity: true)
  }
}
