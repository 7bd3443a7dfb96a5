import HTTPServer

/// The answer of another server.
struct OutgoingAnswer: Sendable, Equatable {
  let status: Int
  /// The names in lower case.
  let fields: [(name: String, value: String)]
  let body: [UInt8]

  subscript(name: String) -> String? { fields.first { $0.name == name }?.value }

  /// The value of up to 9 digits, as in lengths and times; nil for anything else.
  static func decimal(_ digits: some Collection<UInt8>) -> Int? {
    guard (1...9).contains(digits.count), digits.allSatisfy(\.isDigit) else { return nil }
    return digits.reduce(0) { $0 * 10 + Int($1 & 15) }
  }

  static func == (left: Self, right: Self) -> Bool {
    left.status == right.status && left.body == right.body
      && left.fields.elementsEqual(right.fields) { $0 == $1 }
  }
}

/// Reads one answer as it comes (RFC 9112, sections 4 to 7). Whatever a server sends is either an answer or a fault;
/// memory, and time for each byte, are bounded.
struct OutgoingAnswerReader {
  enum Progress: Equatable {
    case unfinished
    case whole(OutgoingAnswer)
    /// The reason in one line, for users.
    case malformed(String)
  }

  private enum Framing {
    case length(Int)
    case chunked
    case untilClose
  }

  private struct Head {
    let status: Int
    let fields: [(name: String, value: String)]
    let framing: Framing
    /// The beginning of the body.
    let end: Int
  }

  private let maxBytes: Int
  private var bytes: [UInt8] = []
  private var head: Head?
  private static let blankLine = Array("\r\n\r\n".utf8)
  private static let lastChunk = Array("0\r\n\r\n".utf8)

  init(maxBytes: Int) { self.maxBytes = maxBytes }

  /// Takes bytes that have come.
  mutating func take(_ more: UnsafeRawBufferPointer) -> Progress {
    guard bytes.count + more.count <= maxBytes else {
      return .malformed("the server's answer is larger than \(maxBytes) bytes")
    }
    let seen = max(0, bytes.count - 3)
    bytes.append(contentsOf: more)
    if head == nil {
      guard let end = (seen..<bytes.count).first(where: { bytes[$0...].starts(with: Self.blankLine) }) else {
        // If the first bytes are wrong already, there is no need to wait for more.
        return bytes.prefix(7).elementsEqual("HTTP/1.".utf8.prefix(bytes.count)) ? .unfinished : Self.noHTTP
      }
      guard let head = Self.head(bytes[..<end], end: end + Self.blankLine.count) else { return Self.noHTTP }
      self.head = head
    }
    guard let head else { return .unfinished }
    switch head.framing {
    case .length(let length) where bytes.count - head.end >= length:
      return .whole(answer(head, Array(bytes[head.end..<(head.end + length)])))
    case .chunked where bytes.suffix(5).elementsEqual(Self.lastChunk):
      return Self.content(ofChunks: bytes[head.end...]).map { .whole(answer(head, $0)) } ?? .unfinished
    case .length, .chunked, .untilClose: return .unfinished
    }
  }

  /// The connection has ended.
  ///
  /// - Returns: nil if the answer is incomplete.
  func end() -> OutgoingAnswer? {
    guard let head, case .untilClose = head.framing else { return nil }
    return answer(head, Array(bytes[head.end...]))
  }

  private static let noHTTP = Progress.malformed("the server does not answer in HTTP/1")

  private func answer(_ head: Head, _ body: [UInt8]) -> OutgoingAnswer {
    OutgoingAnswer(status: head.status, fields: head.fields, body: body)
  }

  private static func head(_ bytes: ArraySlice<UInt8>, end: Int) -> Head? {
    let lines = bytes.split(separator: UInt8(ascii: "\n")).map { $0.last == UInt8(ascii: "\r") ? $0.dropLast() : $0 }
    guard let first = lines.first, first.starts(with: "HTTP/1.".utf8), first.count >= 12,
      first[first.startIndex + 8] == UInt8(ascii: " "),
      let status = OutgoingAnswer.decimal(first.dropFirst(9).prefix(3)), (200...599).contains(status)
    else { return nil }
    var fields: [(name: String, value: String)] = []
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
      let blanks: (UInt8) -> Bool = { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
      let value = line[(colon + 1)...].drop(while: blanks).reversed().drop(while: blanks).reversed()
      fields.append(
        (String(decoding: line[..<colon], as: UTF8.self).lowercased(), String(decoding: Array(value), as: UTF8.self)))
    }
    var framing = Framing.untilClose
    if status == 204 || status == 304 {
      framing = .length(0)
    } else if fields.contains(where: { $0.name == "transfer-encoding" }) {
      framing = .chunked
    } else if let length = fields.first(where: { $0.name == "content-length" }) {
      guard let number = OutgoingAnswer.decimal(length.value.utf8) else { return nil }
      framing = .length(number)
    }
    return Head(status: status, fields: fields, framing: framing, end: end)
  }

  /// The content of chunks (RFC 9112, section 7.1); nil if the last one is missing, or they are malformed.
  private static func content(ofChunks bytes: ArraySlice<UInt8>) -> [UInt8]? {
    var content: [UInt8] = []
    var rest = bytes
    while let lineEnd = rest.firstIndex(of: UInt8(ascii: "\r")) {
      let digits = rest[..<lineEnd].prefix { $0 != UInt8(ascii: ";") }
      guard (1...7).contains(digits.count), let size = Int(String(decoding: digits, as: UTF8.self), radix: 16),
        size >= 0
      else { return nil }
      if size == 0 { return content }
      let start = lineEnd + 2
      guard start + size + 2 <= rest.endIndex else { return nil }
      content += rest[start..<(start + size)]
      rest = rest[(start + size + 2)...]
    }
    return nil
  }
}
