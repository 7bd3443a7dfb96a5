import ByteBuffers

/// A lexer of JSON (RFC 8259) over bytes in memory. It copies nothing and allocates nothing.
struct JSONReader {
  /// How deep objects and arrays may nest, skipped ones included.
  static let maximumDepth = 64

  private let start: UnsafePointer<UInt8>
  private let end: UnsafePointer<UInt8>
  private(set) var cursor: UnsafePointer<UInt8>
  private var depth = 0

  init(_ start: UnsafePointer<UInt8>, _ count: Int) {
    self.start = start
    end = start + count
    cursor = start
  }

  /// How many bytes have been read.
  var offset: Int { cursor - start }

  func offset(of position: UnsafePointer<UInt8>) -> Int { position - start }

  @inline(never)
  func fault(_ reason: TranscodingError.Reason) -> Fault { Fault(reason: reason, offset: offset) }

  @inline(never)
  func fault(_ reason: TranscodingError.Reason, at position: UnsafePointer<UInt8>) -> Fault {
    Fault(reason: reason, offset: offset(of: position))
  }

  /// Skips white space; false if nothing else follows.
  @inline(__always)
  mutating func skipWhiteSpace() -> Bool {
    while cursor < end {
      switch cursor.pointee {
      case 0x20, 0x0a, 0x0d, 0x09: cursor += 1
      default: return true
      }
    }
    return false
  }

  /// The next byte that is not white space; it stays unread.
  @inline(__always)
  mutating func peek() throws(Fault) -> UInt8 {
    guard skipWhiteSpace() else { throw fault(.unexpectedEnd) }
    return cursor.pointee
  }

  // MARK: Objects and arrays

  /// Reads the `{` that `peek` returned; false if the object is empty, which is then read whole.
  @inline(__always)
  mutating func beginObject() throws(Fault) -> Bool { try begin(closing: UInt8(ascii: "}")) }

  /// Reads the `[` that `peek` returned; false if the array is empty, which is then read whole.
  @inline(__always)
  mutating func beginArray() throws(Fault) -> Bool { try begin(closing: UInt8(ascii: "]")) }

  @inline(__always)
  private mutating func begin(closing: UInt8) throws(Fault) -> Bool {
    guard depth < Self.maximumDepth else { throw fault(.tooDeep) }
    cursor += 1
    if try peek() == closing {
      cursor += 1
      return false
    }
    depth += 1
    return true
  }

  /// After a member: true if another one follows, false if the object has ended.
  @inline(__always)
  mutating func nextMember() throws(Fault) -> Bool { try next(closing: UInt8(ascii: "}")) }

  /// After an element: true if another one follows, false if the array has ended.
  @inline(__always)
  mutating func nextElement() throws(Fault) -> Bool { try next(closing: UInt8(ascii: "]")) }

  @inline(__always)
  private mutating func next(closing: UInt8) throws(Fault) -> Bool {
    let byte = try peek()
    guard byte == UInt8(ascii: ",") || byte == closing else { throw fault(.unexpectedCharacter) }
    cursor += 1
    if byte == closing { depth -= 1 }
    return byte != closing
  }

  /// Reads a member's name and the colon.
  @inline(__always)
  mutating func memberName() throws(Fault) -> JSONText {
    guard try peek() == UInt8(ascii: "\"") else { throw fault(.unexpectedCharacter) }
    let name = try text()
    guard try peek() == UInt8(ascii: ":") else { throw fault(.unexpectedCharacter) }
    cursor += 1
    return name
  }

  // MARK: Values

  /// Reads the literal `true`, `false` or `null` of which `peek` returned the first letter.
  mutating func literal(_ literal: StaticString) throws(Fault) {
    for index in 0..<literal.utf8CodeUnitCount {
      guard cursor < end else { throw fault(.unexpectedEnd) }
      guard cursor.pointee == literal.utf8Start[index] else { throw fault(.unexpectedCharacter) }
      cursor += 1
    }
  }

  /// Skips any value.
  mutating func skipValue() throws(Fault) {
    switch try peek() {
    case UInt8(ascii: "{"):
      var more = try beginObject()
      while more {
        _ = try memberName()
        try skipValue()
        more = try nextMember()
      }
    case UInt8(ascii: "["):
      var more = try beginArray()
      while more {
        try skipValue()
        more = try nextElement()
      }
    case UInt8(ascii: "\""): _ = try text()
    case UInt8(ascii: "t"): try literal("true")
    case UInt8(ascii: "f"): try literal("false")
    case UInt8(ascii: "n"): try literal("null")
    default: _ = try number()
    }
  }

  /// Reads a number; nil if it is not an integer or does not fit into 64 bits.
  mutating func number() throws(Fault) -> DecimalInteger? {
    let isNegative = cursor < end && cursor.pointee == UInt8(ascii: "-")
    if isNegative { cursor += 1 }
    let first = cursor
    var magnitude: UInt64 = 0
    // Wraps around for numbers of more than 19 digits, which are therefore read again.
    while cursor < end, case let digit = cursor.pointee &- 0x30, digit < 10 {
      magnitude = magnitude &* 10 &+ UInt64(digit)
      cursor += 1
      if digit == 0 && cursor == first + 1 { break }
    }
    let whole = UnsafeBufferPointer(start: first, count: cursor - first)
    guard !whole.isEmpty else { throw fault(cursor < end ? .unexpectedCharacter : .unexpectedEnd) }
    guard cursor < end, cursor.pointee == UInt8(ascii: ".") || cursor.pointee | 0x20 == UInt8(ascii: "e") else {
      if whole.count <= 19 { return DecimalInteger(isNegative: isNegative, magnitude: magnitude) }
      return DecimalInteger(isNegative: isNegative, whole: whole, fraction: .init(start: nil, count: 0), exponent: 0)
    }
    var fraction = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
    if cursor.pointee == UInt8(ascii: ".") {
      cursor += 1
      fraction = try digits()
    }
    let exponent = try exponent()
    return DecimalInteger(isNegative: isNegative, whole: whole, fraction: fraction, exponent: exponent)
  }

  private mutating func exponent() throws(Fault) -> Int {
    guard cursor < end, cursor.pointee | 0x20 == UInt8(ascii: "e") else { return 0 }
    cursor += 1
    let sign = cursor < end ? cursor.pointee : 0
    if sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { cursor += 1 }
    // No input is long enough for an exponent beyond this to matter.
    let magnitude = try digits().reduce(0) { min($0 * 10 + Int($1 & 0x0f), 1 << 48) }
    return sign == UInt8(ascii: "-") ? -magnitude : magnitude
  }

  private mutating func digits() throws(Fault) -> UnsafeBufferPointer<UInt8> {
    let first = cursor
    while cursor < end, cursor.pointee &- 0x30 < 10 { cursor += 1 }
    guard cursor > first else { throw fault(cursor < end ? .unexpectedCharacter : .unexpectedEnd) }
    return UnsafeBufferPointer(start: first, count: cursor - first)
  }

  /// Reads the string whose opening quote `peek` returned, and checks it: escapes, control characters, UTF-8.
  @inline(__always)
  mutating func text() throws(Fault) -> JSONText {
    let first = cursor + 1
    var at = first
    var hasEscapes = false
    while true {
      at = Self.plainRun(at, end)
      guard at < end else {
        cursor = end
        throw fault(.unexpectedEnd)
      }
      if at.pointee == UInt8(ascii: "\"") { break }
      hasEscapes = hasEscapes || at.pointee == UInt8(ascii: "\\")
      at = try special(at)
    }
    cursor = at + 1
    return JSONText(start: first, count: at - first, hasEscapes: hasEscapes)
  }

  /// The first byte that is not a plain ASCII character of a string, or the end.
  @inline(__always)
  private static func plainRun(_ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> UnsafePointer<UInt8> {
    let ones: UInt64 = 0x0101_0101_0101_0101
    var at = start
    while end - at >= 8 {
      let word = UInt64(littleEndian: UnsafeRawPointer(at).loadUnaligned(as: UInt64.self))
      // The top bit of each byte that is a quote, a backslash, below 0x20 or above 0x7f. A borrow may mark further
      // bytes above such a byte, but the lowest mark is right.
      let quotes = (word ^ ones &* 0x22) &- ones
      let backslashes = (word ^ ones &* 0x5c) &- ones
      let controls = word &- ones &* 0x20
      let marks = (quotes | backslashes | controls | word) & (ones &* 0x80)
      if marks != 0 { return at + marks.trailingZeroBitCount / 8 }
      at += 8
    }
    while at < end, at.pointee >= 0x20, at.pointee < 0x80, at.pointee != 0x22, at.pointee != 0x5c { at += 1 }
    return at
  }

  /// Checks an escape sequence, or a character beyond ASCII, and returns its end.
  @inline(never)
  private mutating func special(_ at: UnsafePointer<UInt8>) throws(Fault) -> UnsafePointer<UInt8> {
    cursor = at
    if at.pointee == UInt8(ascii: "\\") {
      guard end - at >= 2 else { throw fault(.unexpectedEnd) }
      switch at[1] {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
        UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
        return at + 2
      case UInt8(ascii: "u"): return try unicodeEscape(at)
      default: throw fault(.invalidEscape)
      }
    }
    guard at.pointee >= 0x80 else { throw fault(.controlCharacter) }
    switch UTF8Sequence.at(at, end) {
    case .character(let count): return at + count
    case .incomplete: throw fault(.unexpectedEnd)
    case .malformed: throw fault(.invalidUTF8)
    }
  }

  private func unicodeEscape(_ at: UnsafePointer<UInt8>) throws(Fault) -> UnsafePointer<UInt8> {
    let unit = try unicodeEscapeUnit(at)
    guard unit & 0xf800 == 0xd800 else { return at + 6 }
    // A high surrogate and the low one that must follow it.
    guard unit < 0xdc00 else { throw fault(.loneSurrogate) }
    guard at + 6 < end else { throw fault(.unexpectedEnd) }
    guard at[6] == UInt8(ascii: "\\") else { throw fault(.loneSurrogate) }
    guard at + 7 < end else { throw fault(.unexpectedEnd) }
    guard at[7] == UInt8(ascii: "u"), try unicodeEscapeUnit(at + 6) & 0xfc00 == 0xdc00 else {
      throw fault(.loneSurrogate)
    }
    return at + 12
  }

  private func unicodeEscapeUnit(_ at: UnsafePointer<UInt8>) throws(Fault) -> UInt32 {
    for digit in 2..<6 {
      guard at + digit < end else { throw fault(.unexpectedEnd) }
      guard JSONText.isHexDigit(at[digit]) else { throw fault(.invalidEscape) }
    }
    return JSONText.hexUnit(at + 2)
  }
}
