import ByteBuffers

/// Checks the head of a request line by line, so that no proxy in front of the gateway can have read another request in
/// it (RFC 9112, section 11.2). It only reads bytes: no call, and no allocation unless there is a fault.
///
/// libmicrohttpd before 1.0 appends a folded line to the *name* of a field, takes a line that begins with a colon or
/// NUL for the end of the head, and ends values at NUL, and lines at LF alone. It does not show what it swallows. But
/// everything that it hands out points into its buffer, which is unchanged except for NULs in place of colons and line
/// ends. So each line must begin exactly where the one before has ended, with CRLF between, and the head must end where
/// the last line does: every gap is something that was swallowed. A client can only get past that with a bare LF, which
/// ``LineEnds`` show.
struct HeadCheck {
  /// How the lines end; nil if libmicrohttpd checks that, and where lines begin.
  private let lineEnds: LineEnds?
  /// The end of the request line.
  private let fieldsStart: UnsafePointer<UInt8>
  /// Whether the client only knows HTTP/1.0, and so no chunks.
  let isHTTP10: Bool
  /// Where the next line has to begin.
  private var next: UnsafePointer<UInt8>?
  private var hasHost = false

  /// The first fault; nil if there is none.
  private(set) var fault: String?
  private(set) var contentLength: UInt64?
  private(set) var isChunked = false

  static let malformedLine = "the request line is not METHOD SP TARGET SP VERSION"

  /// Begins with the request line.
  ///
  /// - Parameters:
  ///   - method, target, version: the parts of the request line.
  ///   - lineEnds: how the lines after it end; nil if libmicrohttpd reads heads strictly, so that the positions of
  ///     their parts need no check.
  init(method: HeadBytes, target: HeadBytes, version: HeadBytes, lineEnds: LineEnds?) {
    self.lineEnds = lineEnds
    fieldsStart = version.end + 2
    isHTTP10 = version.isEqual(to: "HTTP/1.0")
    if !method.isToken {
      fault = "the method is not a token"
    } else if !Self.isTarget(target) {
      fault = "the request target has a blank, a control character or '#', which must be percent-encoded"
    } else if lineEnds != nil && (target.start != method.end + 1 || version.start != target.end + 1) {
      fault = Self.malformedLine
    } else if lineEnds == .bareLF {
      fault = "a line of the head does not end with CRLF"
    }
    next = fieldsStart
  }

  /// Takes the next field.
  ///
  /// - Parameter value: as libmicrohttpd passes it, before blanks at its end are removed.
  mutating func take(name: HeadBytes, value: HeadBytes) {
    guard fault == nil else { return }
    if !name.isToken {
      fault = "the name of a header field is not a token: '\(Self.printable(name))'"
    } else if !Self.isValue(value) {
      fault = "the value of the header field '\(Self.printable(name))' has a control character"
    } else if lineEnds != nil && !follows(name, value) {
      fault = "before or in the header field '\(Self.printable(name))' is a malformed or folded line"
    }
    next = value.end + 2
    guard fault == nil else { return }
    switch name.count {
    case 4 where name.isNamed("host"): takeHost(value.trimmed)
    case 14 where name.isNamed("content-length"): takeLength(value.trimmed)
    case 17 where name.isNamed("transfer-encoding"): takeCoding(value.trimmed)
    default: break
    }
  }

  /// Whether a field begins where the line before it ended, with only blanks between its colon and its value.
  private func follows(_ name: HeadBytes, _ value: HeadBytes) -> Bool {
    guard name.start == next, value.start > name.end else { return false }
    let gap = HeadBytes(start: name.end + 1, count: value.start - (name.end + 1))
    return gap.allSatisfy(Self.isBlank)
  }

  /// Takes the end of the head.
  ///
  /// - Parameter end: where libmicrohttpd has found the end, after the empty line.
  mutating func finish(end: UnsafePointer<UInt8>) {
    guard fault == nil else { return }
    if lineEnds != nil && !isEnd(end) {
      fault = "at the end of the head is a malformed or folded line"
    } else if !hasHost && !isHTTP10 {
      fault = "the request has no Host header field"
    } else if isChunked && isHTTP10 {
      fault = "Transfer-Encoding is not for HTTP/1.0"
    }
  }

  /// Whether the head ends where its last line does, and where the first empty line was.
  private func isEnd(_ end: UnsafePointer<UInt8>) -> Bool {
    guard let next, next + 2 == end else { return false }
    if case .crlf(let size) = lineEnds { return fieldsStart + size == end }
    return true
  }

  /// Whether a proxy in front may have found another end of the request. libmicrohttpd may have taken other bytes for
  /// the last two line ends, unless they were seen, as that of the request line never is; and it reads chunks as laxly
  /// as lines, and trailers like heads.
  var hasUncertainEnd: Bool {
    guard let lineEnds else { return false }
    return lineEnds == .unseen || next == fieldsStart || isChunked
  }

  // MARK: - Host and framing

  private mutating func takeHost(_ value: HeadBytes) {
    if hasHost {
      fault = "the request has more than one Host header field"
    } else if !Self.isHost(value) {
      fault = "the Host header field is not HOST or HOST:PORT"
    }
    hasHost = true
  }

  private mutating func takeLength(_ value: HeadBytes) {
    if contentLength != nil || isChunked {
      fault = "the request has more than one length"
      return
    }
    contentLength = Self.number(value)
    guard contentLength == nil else { return }
    let isNumber = !value.isEmpty && value.allSatisfy(\.isDigit)
    fault = isNumber ? "Content-Length is too large" : "Content-Length is not a number of bytes"
  }

  private mutating func takeCoding(_ value: HeadBytes) {
    if contentLength != nil || isChunked {
      fault = "the request has more than one length"
    } else if !value.isNamed("chunked") {
      fault = "the only supported transfer encoding is chunked"
    }
    isChunked = true
  }

  // MARK: - Grammar

  /// A decimal number of 64 bits; nil for anything else.
  static func number(_ text: HeadBytes) -> UInt64? {
    guard !text.isEmpty else { return nil }
    var number: UInt64 = 0
    for byte in text {
      guard byte.isDigit else { return nil }
      let (tens, isTooLarge) = number.multipliedReportingOverflow(by: 10)
      let (sum, isLargeByOne) = tens.addingReportingOverflow(UInt64(byte - 0x30))
      if isTooLarge || isLargeByOne { return nil }
      number = sum
    }
    return number
  }

  /// Whether the text is a host, perhaps with a port (RFC 9110, section 7.2; RFC 3986, section 3.2).
  static func isHost(_ text: HeadBytes) -> Bool {
    var host = text[...]
    if let colon = text.lastIndex(of: UInt8(ascii: ":")), text[colon...].dropFirst().allSatisfy(\.isDigit) {
      host = text[..<colon]
    }
    guard let first = host.first else { return false }
    if first == UInt8(ascii: "[") {
      return host.count > 2 && host.last == UInt8(ascii: "]")
        && host.dropFirst().dropLast().allSatisfy { isInHost($0) || $0 == UInt8(ascii: ":") }
    }
    return host.allSatisfy(isInHost)
  }

  /// Whether the byte is allowed in a `token`.
  static func isToken(_ byte: UInt8) -> Bool { contains(tokenCharacters, byte) }

  /// Whether the byte is in `unreserved` or `sub-delims`, or is needed for percent-encoding (RFC 3986, section 2).
  private static func isInHost(_ byte: UInt8) -> Bool { contains(hostCharacters, byte) }

  /// Whether the byte is a space or a tab (RFC 9110, section 5.6.3).
  static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

  /// Whether the text has no control character except tabs (RFC 9110, section 5.5).
  private static func isValue(_ text: HeadBytes) -> Bool {
    // Without a branch for each byte, so that the compiler can check many at once.
    var faults: UInt8 = 0
    for byte in text { faults |= (byte < 0x20 && byte != 0x09) || byte == 0x7F ? 1 : 0 }
    return faults == 0
  }

  /// Whether the text has no byte that another parser may take for the end of the target. Bytes beyond ASCII are not
  /// allowed in a URI, but all parsers leave them as they are.
  private static func isTarget(_ text: HeadBytes) -> Bool {
    var faults: UInt8 = 0
    for byte in text { faults |= byte <= 0x20 || byte == 0x7F || byte == UInt8(ascii: "#") ? 1 : 0 }
    return faults == 0 && !text.isEmpty
  }

  /// The beginning of a name, for an error.
  private static func printable(_ name: HeadBytes) -> String {
    String(decoding: name.prefix(64).map { (0x20..<0x7F).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
  }

  /// A set of ASCII characters, one bit each: a constant, which needs no initialisation and no check for that.
  private typealias CharacterSet = (low: UInt64, high: UInt64)

  private static func contains(_ set: CharacterSet, _ byte: UInt8) -> Bool {
    byte < 64 ? set.low >> byte & 1 != 0 : byte < 128 && set.high >> (byte & 63) & 1 != 0
  }

  /// Letters, digits, and !#$%&'*+-.^_`|~.
  private static var tokenCharacters: CharacterSet { (0x03FF_6CFA_0000_0000, 0x57FF_FFFF_C7FF_FFFE) }
  /// Letters, digits, and -._~!$&'()*+,;=%.
  private static var hostCharacters: CharacterSet { (0x2BFF_7FF2_0000_0000, 0x47FF_FFFE_87FF_FFFE) }
}

extension HeadBytes {
  fileprivate var start: UnsafePointer<UInt8> { baseAddress ?? Self.nowhere }
  var end: UnsafePointer<UInt8> { start + count }

  /// A position that no line follows.
  private static var nowhere: UnsafePointer<UInt8> {
    UnsafeRawPointer(StaticString("").utf8Start).assumingMemoryBound(to: UInt8.self)
  }
}
