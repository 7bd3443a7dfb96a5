/// Where a request belongs in a distributed trace (W3C Trace Context): as its client says in `traceparent` and
/// `tracestate`, or as the gateway has made it up. Members of etcd that record traces
/// (`--experimental-enable-distributed-tracing`) take both as metadata.
package struct TraceContext {
  package let trace: TraceID
  /// The span that what comes after it is a part of.
  package let span: UInt64
  /// Whether the trace is recorded.
  package let isSampled: Bool
  /// The value of `traceparent`, as the client has sent it; empty of a trace that begins here.
  private let text: [UInt8]
  /// The value of `tracestate`; empty if there is none.
  let state: [UInt8]

  /// How long a `tracestate` may be, in bytes: a longer one need not be passed on (W3C Trace Context, section 3.3.1.5).
  package static let maxState = 512
  /// How long a `traceparent` of the version that there is is, in bytes.
  private static let length = 55

  /// - Parameters:
  ///   - parent: the value of `traceparent`.
  ///   - state: that of `tracestate`, all fields of that name joined by commas; empty for none. What is too long, or
  ///     has anything but printable ASCII in it, counts as none.
  /// - Returns: nil if `parent` is not as it has to be, upon which both are ignored (W3C Trace Context, section 4.3).
  package init?(parent: some Collection<UInt8>, state: some Collection<UInt8>) {
    let parent = Array(parent)
    guard Self.hasForm(parent), let high = HexDigits.value(of: parent[3..<19]),
      let low = HexDigits.value(of: parent[19..<35]), high | low != 0,
      let span = HexDigits.value(of: parent[36..<52]), span != 0, let flags = HexDigits.value(of: parent[53..<55])
    else { return nil }
    trace = TraceID(high: high, low: low)
    self.span = span
    isSampled = flags & 1 == 1
    text = parent
    let isFit = state.count <= Self.maxState && state.allSatisfy { (0x20...0x7E).contains($0) }
    self.state = isFit ? Array(state) : []
  }

  /// A trace that begins here.
  package init(beginning trace: TraceID, span: UInt64, isSampled: Bool) {
    self.trace = trace
    self.span = span
    self.isSampled = isSampled
    text = []
    state = []
  }

  /// Whether the client has begun the trace, or somebody before it.
  package var isOfClient: Bool { !text.isEmpty }

  /// The trace's ID: 32 hexadecimal digits.
  package var traceID: String { trace.text }

  /// `VERSION-TRACE-PARENT-FLAGS` (W3C Trace Context, section 3.2.2), whatever stands for the last three. Later
  /// versions may go on after that.
  private static func hasForm(_ text: [UInt8]) -> Bool {
    guard text.count >= length, text.count <= maxState, text.allSatisfy({ (0x21...0x7E).contains($0) }),
      let version = HexDigits.value(of: text[..<2]), version != 0xFF
    else { return false }
    let dash = UInt8(ascii: "-")
    guard text.count == length || version > 0 && text[length] == dash else { return false }
    return [2, 35, 52].allSatisfy { text[$0] == dash }
  }

  // MARK: - What is passed on

  /// Calls `body` with the `traceparent` of what comes next.
  ///
  /// - Parameter span: the span of ours that that is a part of; nil if it is of none, and the client's own goes on.
  func withParent<Result>(_ span: UInt64?, _ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
    if span == nil, !text.isEmpty { return text.withUnsafeBufferPointer(body) }
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.length) { bytes in
      guard let start = bytes.baseAddress else { return body(UnsafeBufferPointer(bytes)) }
      let dash = UInt8(ascii: "-")
      (start[0], start[1], start[2]) = (UInt8(ascii: "0"), UInt8(ascii: "0"), dash)
      HexDigits.write(trace.high, to: start + 3)
      HexDigits.write(trace.low, to: start + 19)
      start[35] = dash
      HexDigits.write(span ?? self.span, to: start + 36)
      (start[52], start[53]) = (dash, UInt8(ascii: "0"))
      start[54] = isSampled ? UInt8(ascii: "1") : UInt8(ascii: "0")
      return body(UnsafeBufferPointer(bytes))
    }
  }

  /// The same as text.
  package func parent(_ span: UInt64?) -> String { withParent(span) { String(decoding: $0, as: UTF8.self) } }
}
