/// Where a request belongs in a distributed trace, as its client says in `traceparent` and `tracestate` (W3C Trace
/// Context). Members of etcd that record traces (`--experimental-enable-distributed-tracing`) take both as metadata.
package struct TraceContext {
  /// The value of `traceparent`.
  let parent: [UInt8]
  /// The value of `tracestate`; empty where there is none.
  let state: [UInt8]

  /// How long a `tracestate` may be, in bytes: a longer one need not be passed on (W3C Trace Context, section 3.3.1.5).
  package static let maxState = 512

  /// - Parameters:
  ///   - parent: the value of `traceparent`.
  ///   - state: that of `tracestate`, all fields of that name joined by commas; empty for none. What is too long, or
  ///     has anything but printable ASCII in it, counts as none.
  /// - Returns: nil if `parent` is not as it has to be, upon which both are ignored (W3C Trace Context, section 4.3).
  package init?(parent: some Collection<UInt8>, state: some Collection<UInt8>) {
    let parent = Array(parent)
    guard Self.isWellFormed(parent) else { return nil }
    self.parent = parent
    let isFit = state.count <= Self.maxState && state.allSatisfy { (0x20...0x7E).contains($0) }
    self.state = isFit ? Array(state) : []
  }

  /// The trace's ID: 32 hexadecimal digits.
  package var traceID: String { String(decoding: parent[3..<35], as: UTF8.self) }

  /// Whether the client records the trace: then each call is to be seen in it.
  package var isSampled: Bool { Self.digit(parent[54]).map { $0 & 1 == 1 } ?? false }

  /// `VERSION-TRACE-PARENT-FLAGS` in lower-case hexadecimal digits (W3C Trace Context, section 3.2.2). Later versions may
  /// go on after that.
  private static func isWellFormed(_ text: [UInt8]) -> Bool {
    guard text.count >= 55, text.count <= maxState else { return false }
    let version = text[..<2]
    let isFirst = version.allSatisfy { $0 == UInt8(ascii: "0") }
    guard isFirst ? text.count == 55 : text.count == 55 || text[55] == dash,
      !version.allSatisfy({ $0 == UInt8(ascii: "f") }), text.allSatisfy({ (0x21...0x7E).contains($0) })
    else { return false }
    let (trace, span) = (text[3..<35], text[36..<52])
    return [2, 35, 52].allSatisfy { text[$0] == dash }
      && [version, trace, span, text[53..<55]].allSatisfy { $0.allSatisfy { digit($0) != nil } }
      && [trace, span].allSatisfy { $0.contains { $0 != UInt8(ascii: "0") } }
  }

  private static let dash = UInt8(ascii: "-")

  private static func digit(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
    default: nil
    }
  }
}
