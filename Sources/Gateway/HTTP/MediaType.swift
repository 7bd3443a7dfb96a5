/// The types of content that the gateway has a choice of.
enum MediaType: CaseIterable {
  case json
  case bytes
  /// JSON documents, each a line.
  case lines
  /// Server-Sent Events (HTML Standard, section 9.2).
  case events

  var name: StaticString {
    switch self {
    case .json: "application/json"
    case .bytes: "application/octet-stream"
    case .lines: "application/x-ndjson"
    case .events: "text/event-stream"
    }
  }

  /// The first type of an `Accept` header (RFC 9110, section 12.5.1) that is one of these, by its name and not as part
  /// of a range. Weights do not count but for 0, which is a refusal.
  init?(firstIn header: HeadBytes) {
    for element in header.split(separator: UInt8(ascii: ",")) {
      let parts = element.split(separator: UInt8(ascii: ";"))
      guard let name = parts.first?.trimmed, let type = Self.allCases.first(where: { name.isNamed($0.name) }),
        !parts.dropFirst().contains(where: { Self.isRefusal($0.trimmed) })
      else { continue }
      self = type
      return
    }
    return nil
  }

  /// Whether a parameter is a weight of zero (RFC 9110, section 12.4.2).
  private static func isRefusal(_ parameter: Slice<HeadBytes>) -> Bool {
    guard parameter.count >= 3, parameter.first! | 0x20 == UInt8(ascii: "q"),
      parameter.dropFirst().first == UInt8(ascii: "=")
    else { return false }
    return parameter.dropFirst(2).allSatisfy { $0 == UInt8(ascii: "0") || $0 == UInt8(ascii: ".") }
  }
}
