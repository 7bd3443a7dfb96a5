import EventLoop

/// The header in which a proxy names the client of a connection ("The PROXY protocol", versions 1 and 2, by HAProxy's
/// authors, section 2). A function of the bytes so far that has a result for all bytes.
enum ProxyGreeting: Equatable {
  /// More bytes are needed.
  case incomplete
  /// The first `length` bytes are the header.
  case complete(Source, length: Int)
  case malformed

  /// The origin of the connection.
  enum Source: Equatable {
    /// The proxy itself, or an origin that the proxy does not name.
    case proxy
    /// A client of a Unix socket.
    case local
    case address(IPAddress, port: UInt16)
  }

  /// The longest line of version 1, with its end (section 2.1).
  static let longestLine = 107
  /// The longest accepted header of version 2, including what a proxy adds to the addresses.
  static let longest = 4096
  private static let signature: StaticString = "\r\n\r\n\0\r\nQUIT\n"
  private static let lineStart: StaticString = "PROXY "

  init(_ bytes: UnsafeRawBufferPointer) {
    if Self.begins(bytes, with: Self.signature) {
      self = Self.binary(bytes)
    } else if Self.begins(bytes, with: Self.lineStart) {
      self = Self.line(bytes)
    } else {
      self = .malformed
    }
  }

  /// Whether the bytes so far may begin with `text`.
  private static func begins(_ bytes: UnsafeRawBufferPointer, with text: StaticString) -> Bool {
    zip(bytes, UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)).allSatisfy(==)
  }

  // MARK: - Version 2

  private static func binary(_ bytes: UnsafeRawBufferPointer) -> ProxyGreeting {
    guard bytes.count >= 16 else { return .incomplete }
    guard bytes[12] >> 4 == 2 else { return .malformed }
    let count = Int(UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 14, as: UInt16.self)))
    let length = 16 + count
    guard length <= longest else { return .malformed }
    switch bytes[12] & 0xF {
    case 0: return bytes.count < length ? .incomplete : .complete(.proxy, length: length)
    case 1: break
    default: return .malformed
    }
    // Two addresses and their ports; what follows them is not needed.
    let least: Int
    switch bytes[13] {
    case 0x00: least = 0
    case 0x11: least = 12
    case 0x21: least = 36
    case 0x31: least = 216
    default: return .malformed
    }
    guard count >= least else { return .malformed }
    guard bytes.count >= length else { return .incomplete }
    func port(_ offset: Int) -> UInt16 {
      UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
    switch bytes[13] {
    case 0x11:
      let bits = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
      return .complete(.address(IPAddress(v4: bits), port: port(24)), length: length)
    case 0x21:
      guard let address = IPAddress(v6: UnsafeRawBufferPointer(rebasing: bytes[16..<32])) else { return .malformed }
      return .complete(.address(address, port: port(48)), length: length)
    case 0x31: return .complete(.local, length: length)
    default: return .complete(.proxy, length: length)
    }
  }

  // MARK: - Version 1

  private static func line(_ bytes: UnsafeRawBufferPointer) -> ProxyGreeting {
    guard let end = bytes.prefix(longestLine).firstIndex(of: UInt8(ascii: "\n")) else {
      return bytes.count >= longestLine ? .malformed : .incomplete
    }
    guard end >= lineStart.utf8CodeUnitCount, bytes[end - 1] == UInt8(ascii: "\r") else { return .malformed }
    let length = end + 1
    let words = bytes[..<(end - 1)].split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
    guard words.count >= 2 else { return .malformed }
    let isV4: Bool
    switch String(decoding: words[1], as: UTF8.self) {
    case "UNKNOWN": return .complete(.proxy, length: length)
    case "TCP4": isV4 = true
    case "TCP6": isV4 = false
    default: return .malformed
    }
    guard words.count == 6, let source = IPAddress(words[2]), IPAddress(words[3]) != nil,
      words[2].contains(UInt8(ascii: ":")) != isV4, words[3].contains(UInt8(ascii: ":")) != isV4,
      let port = port(words[4]), self.port(words[5]) != nil
    else { return .malformed }
    return .complete(.address(source, port: port), length: length)
  }

  private static func port(_ digits: Slice<UnsafeRawBufferPointer>) -> UInt16? {
    guard (1...5).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }),
      digits.count == 1 || digits.first != 0x30
    else { return nil }
    return UInt16(String(decoding: digits, as: UTF8.self))
  }
}
