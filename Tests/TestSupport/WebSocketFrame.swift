/// One frame of a WebSocket (RFC 6455, section 5.2), valid or not.
package struct WebSocketFrame: Equatable, Sendable {
  package enum Opcode {
    package static let continuation: UInt8 = 0x0
    package static let text: UInt8 = 0x1
    package static let binary: UInt8 = 0x2
    package static let close: UInt8 = 0x8
    package static let ping: UInt8 = 0x9
    package static let pong: UInt8 = 0xa
  }

  package var opcode: UInt8
  package var payload: [UInt8]
  package var isFinal: Bool
  /// RSV1 to RSV3 as the three lowest bits; zero unless an extension is negotiated.
  package var reserved: UInt8
  /// Whether it is masked, as a client's frames must be.
  package var isMasked: Bool

  package init(
    _ opcode: UInt8, _ payload: [UInt8] = [], isFinal: Bool = true, reserved: UInt8 = 0, isMasked: Bool = true
  ) {
    self.opcode = opcode
    self.payload = payload
    self.isFinal = isFinal
    self.reserved = reserved
    self.isMasked = isMasked
  }

  package var isControl: Bool { opcode & 0x8 != 0 }

  /// The status code and the reason of a close frame; nil if it has none, or is not one.
  package var closing: (code: UInt16, reason: String)? {
    guard opcode == Opcode.close, payload.count >= 2 else { return nil }
    return (UInt16(payload[0]) << 8 | UInt16(payload[1]), String(decoding: payload[2...], as: UTF8.self))
  }

  /// A close frame.
  package static func close(_ code: UInt16, _ reason: String = "") -> WebSocketFrame {
    WebSocketFrame(Opcode.close, [UInt8(code >> 8), UInt8(code & 0xff)] + Array(reason.utf8))
  }

  /// The frame as on the wire.
  /// - Parameter lengthBytes: how many bytes encode the payload's length (0, 2 or 8 beyond the first); nil for the
  ///   fewest.
  package func encoded(lengthBytes: Int? = nil) -> [UInt8] {
    let extended = lengthBytes ?? (payload.count < 126 ? 0 : payload.count < 65536 ? 2 : 8)
    let short = extended == 0 ? UInt8(truncatingIfNeeded: payload.count) & 0x7f : extended == 2 ? 126 : 127
    var bytes = [(isFinal ? 0x80 : 0) | reserved << 4 | opcode, (isMasked ? 0x80 : 0) | short]
    for index in 0..<extended {
      bytes.append(UInt8(truncatingIfNeeded: UInt64(payload.count) >> UInt64(8 * (extended - 1 - index))))
    }
    guard isMasked else { return bytes + payload }
    // Eight bytes at a time: otherwise megabytes take a debug build far too long.
    let mask = (0..<4).map { _ in UInt8.random(in: 1...255) }
    let wide = (mask + mask).withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
    bytes += mask
    let start = bytes.count
    bytes += payload
    bytes.withUnsafeMutableBytes { bytes in
      var index = start
      while index + 8 <= bytes.count {
        let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        bytes.storeBytes(of: word ^ wide, toByteOffset: index, as: UInt64.self)
        index += 8
      }
      while index < bytes.count {
        bytes[index] ^= mask[(index - start) & 3]
        index += 1
      }
    }
    return bytes
  }
}

/// A message that came over a WebSocket, fragments joined.
package enum WebSocketMessage: Equatable, Sendable {
  case text(String)
  case binary([UInt8])
  case ping([UInt8])
  case pong([UInt8])
  /// A close frame; its code is nil if it has no payload.
  case close(code: UInt16?, reason: String)
}
