/// A strict parser of JSON (RFC 8259). Foundation's accepts `[1,]` and a member that occurs twice, and its decoder
/// throws an error for each type that a value does not have: a fifth of the time of the tests.
struct JSONParser {
  /// What is wrong with a text, and where.
  struct Malformed: Error, CustomStringConvertible {
    let offset: Int
    let what: String
    var description: String { "no JSON at byte \(offset): \(what)" }
  }

  private static let maxDepth = 200

  private let bytes: [UInt8]
  private var offset = 0

  /// - Throws: ``Malformed`` if it is not one value.
  static func parse(_ bytes: [UInt8]) throws -> JSON {
    var parser = JSONParser(bytes: bytes)
    let value = try parser.value(depth: 0)
    parser.skipSpace()
    guard parser.next == nil else { throw parser.malformed("something follows the value") }
    return value
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  private func malformed(_ what: String) -> Malformed { Malformed(offset: offset, what: what) }

  private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  private mutating func skip(_ character: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: character) else { return false }
    offset += 1
    return true
  }

  private mutating func expect(_ character: Unicode.Scalar) throws {
    guard skip(character) else { throw malformed("expected '\(character)'") }
  }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { offset += 1 }
  }

  private mutating func value(depth: Int) throws -> JSON {
    guard depth < Self.maxDepth else { throw malformed("too deep") }
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return .number(try number())
    }
  }

  private mutating func word(_ word: String, _ value: JSON) throws -> JSON {
    guard bytes[offset...].starts(with: word.utf8) else { throw malformed("expected \(word)") }
    offset += word.utf8.count
    return value
  }

  private mutating func object(depth: Int) throws -> JSON {
    try expect("{")
    var members: [String: JSON] = [:]
    skipSpace()
    if skip("}") { return .object(members) }
    repeat {
      skipSpace()
      let name = try string()
      skipSpace()
      try expect(":")
      let value = try value(depth: depth + 1)
      guard members.updateValue(value, forKey: name) == nil else { throw malformed("'\(name)' occurs twice") }
      skipSpace()
    } while skip(",")
    try expect("}")
    return .object(members)
  }

  private mutating func array(depth: Int) throws -> JSON {
    try expect("[")
    var elements: [JSON] = []
    skipSpace()
    if skip("]") { return .array(elements) }
    repeat {
      elements.append(try value(depth: depth + 1))
      skipSpace()
    } while skip(",")
    try expect("]")
    return .array(elements)
  }

  private mutating func number() throws -> Double {
    let start = offset
    _ = skip("-")
    if !skip("0") { try digits() }
    if skip(".") { try digits() }
    if skip("e") || skip("E") {
      if !skip("-") { _ = skip("+") }
      try digits()
    }
    guard let value = Double(String(decoding: bytes[start..<offset], as: UTF8.self)) else {
      throw malformed("not a number")
    }
    return value
  }

  private mutating func digits() throws {
    let start = offset
    while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { offset += 1 }
    guard offset > start else { throw malformed("expected a digit") }
  }

  private mutating func string() throws -> String {
    try expect("\"")
    var text = ""
    while true {
      text += try plainText()
      if skip("\"") { return text }
      try expect("\\")
      text.unicodeScalars.append(try escaped())
    }
  }

  /// What comes before the next quotation mark or backslash.
  private mutating func plainText() throws -> String {
    let start = offset
    offset = bytes.withUnsafeBufferPointer { bytes in
      var end = start
      while end < bytes.count, bytes[end] >= 0x20, bytes[end] != 0x22, bytes[end] != 0x5c { end += 1 }
      return end
    }
    guard let text = String(validating: bytes[start..<offset], as: UTF8.self) else { throw malformed("not UTF-8") }
    return text
  }

  private mutating func escaped() throws -> Unicode.Scalar {
    guard let byte = next else { throw malformed("expected an escape") }
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      var units = [try hexadecimal()]
      if UTF16.isLeadSurrogate(units[0]) {
        try expect("\\")
        try expect("u")
        units.append(try hexadecimal())
      }
      guard let scalar = String(validating: units, as: UTF16.self)?.unicodeScalars.first else {
        throw malformed("half a surrogate pair")
      }
      return scalar
    default: throw malformed("not an escape")
    }
  }

  private mutating func hexadecimal() throws -> UInt16 {
    let digits = String(decoding: bytes[offset...].prefix(4), as: UTF8.self)
    guard digits.utf8.count == 4, !digits.hasPrefix("+"), !digits.hasPrefix("-"), let unit = UInt16(digits, radix: 16)
    else { throw malformed("expected four hexadecimal digits") }
    offset += 4
    return unit
  }
}
