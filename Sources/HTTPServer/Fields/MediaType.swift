import ByteBuffers

/// The content types that the gateway distinguishes.
package enum MediaType: CaseIterable {
  case json
  case bytes
  case text
  /// JSON documents, one on each line.
  case lines
  /// Server-Sent Events (HTML Standard, section 9.2).
  case events
  /// A page, which browsers request for the address bar. It only counts if the request names no other of these types.
  case html

  package var name: StaticString {
    switch self {
    case .json: "application/json"
    case .bytes: "application/octet-stream"
    case .text: "text/plain"
    case .lines: "application/x-ndjson"
    case .events: "text/event-stream"
    case .html: "text/html"
    }
  }

  /// Whether a `Content-Type` header (RFC 9110, section 8.3) names ``lines``, with parameters or without.
  static func isLines(_ header: HeadBytes) -> Bool {
    let end = header.firstIndex(of: UInt8(ascii: ";")) ?? header.endIndex
    return HeadBytes(rebasing: header[..<end]).trimmed.isNamed(lines.name)
  }

  /// The first of these types that an `Accept` header (RFC 9110, section 12.5.1) names exactly, not as part of a range;
  /// ``html`` only if there is no other one. Weights are ignored, except 0, which is a refusal.
  init?(firstIn header: HeadBytes) {
    var namesPage = false
    for element in header.listElements {
      guard let name = element.acceptedName, let type = Self.allCases.first(where: { name.isNamed($0.name) })
      else { continue }
      if type == .html {
        namesPage = true
      } else {
        self = type
        return
      }
    }
    guard namesPage else { return nil }
    self = .html
  }
}
