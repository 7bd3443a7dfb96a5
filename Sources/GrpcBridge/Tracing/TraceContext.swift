/// A request's place in a distributed trace (W3C Trace Context): from its client's `traceparent` and `tracestate`, or
/// made by the gateway. Members of etcd that record traces (`--experimental-enable-distributed-tracing`) accept both as
/// metadata.
package struct TraceContext {
  package let trace: TraceID
  /// The parent of the spans to come.
  package let span: UInt64
  /// Whether the trace is recorded.
  package let isSampled: Bool
  /// The client's value of `traceparent`; empty if the trace begins here.
  private let text: [UInt8]
  /// The value of `tracestate`; empty if there is none.
  let state: [UInt8]

  /// How long a `tracestate` may be, in bytes: a longer one need not be passed on (W3C Trace Context, section 3.3.1.5).
  static let maxState = 512
  /// The length of a `traceparent` of version 00, in bytes.
  private static let length = 55

  /// - Parameters:
  ///   - parent: the value of `traceparent`.
  ///   - state: the value of `tracestate`, all fields of that name joined by commas; empty for none. It counts as none
  ///     if it is too long or not printable ASCII.
  /// - Returns: nil if `parent` is malformed; then both are ignored (W3C Trace Context, section 4.3).
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

  /// Begins a trace here.
  package init(beginning trace: TraceID, span: UInt64, isSampled: Bool) {
    self.trace = trace
    self.span = span
    self.isSampled = isSampled
    text = []
    state = []
  }

  /// Whether the trace was begun by the client or before it.
  package var isOfClient: Bool { !text.isEmpty }

  /// The trace's ID: 32 hexadecimal digits.
  package var traceID: String { trace.text }

  /// Whether the text has the form `VERSION-TRACE-PARENT-FLAGS` (W3C Trace Context, section 3.2.2), whatever the last
  /// three are. Later versions may have more after that.
  private static func hasForm(_ text: [UInt8]) -> Bool {
    guard text.count >= length, text.count <= maxState, text.allSatisfy({ (0x21...0x7E).contains($0) }),
      let version = HexDigits.value(of: text[..<2]), version != 0xFF
    else { return false }
    let dash = UInt8(ascii: "-")
    guard text.count == length || version > 0 && text[length] == dash else { return false }
    return [2, 35, 52].allSatisfy { text[$0] == dash }
  }

  // MARK: - Propagation

  /// Calls `body` with the `traceparent` for the next request.
  ///
  /// - Parameter span: this program's span, which becomes the parent; nil if there is none, and the client's stays the
  ///   parent.
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
  func parent(_ span: UInt64?) -> String { withParent(span) { String(decoding: $0, as: UTF8.self) } }
}
