/// The kind of a frame (RFC 6455, section 5.2).
package enum WebSocketOpcode: UInt8 {
  case continuation = 0
  case text = 1
  case binary = 2
  case close = 8
  case ping = 9
  case pong = 10
}

/// The header of a frame from a server, which is not masked (RFC 6455, section 5.2).
package enum WebSocketHeader {
  /// The size of the largest header.
  package static let maxBytes = 10

  /// The size of the header of a frame with a payload of `count` bytes, the length in its shortest form.
  static func count(of count: UInt64, isMasked: Bool) -> Int {
    (isMasked ? 6 : 2) + (count < 126 ? 0 : count < 0x10000 ? 2 : 8)
  }

  /// Writes the header of a frame with a payload of `count` bytes, the length in its shortest form, to the beginning of
  /// `target`. Returns its size.
  ///
  /// - Parameter isFinal: whether it is the last frame of its message.
  package static func write(
    _ opcode: WebSocketOpcode, isFinal: Bool = true, count: Int, to target: UnsafeMutableRawBufferPointer
  ) -> Int {
    target[0] = (isFinal ? 0x80 : 0) | opcode.rawValue
    switch count {
    case ..<126:
      target[1] = UInt8(count)
      return 2
    case ..<0x10000:
      target[1] = 126
      target.storeBytes(of: UInt16(count).bigEndian, toByteOffset: 2, as: UInt16.self)
      return 4
    default:
      target[1] = 127
      target.storeBytes(of: UInt64(count).bigEndian, toByteOffset: 2, as: UInt64.self)
      return 10
    }
  }
}
