/// Decodes a `grpc-message` (gRPC over HTTP/2, "Percent-Encoded"). Broken escapes stay as they are; broken UTF-8 is
/// repaired. For paths and queries of clients the gateway has another decoder, which refuses broken escapes and keeps
/// bytes that are not text.
func percentDecoded(_ text: UnsafeBufferPointer<UInt8>) -> String {
  func hex(_ index: Int) -> UInt8? {
    guard index < text.count else { return nil }
    switch text[index] {
    case let digit where (0x30...0x39).contains(digit): return digit - 0x30
    case let letter where (0x41...0x46).contains(letter & 0xDF): return (letter & 0xDF) - 0x41 + 10
    default: return nil
    }
  }
  guard text.contains(UInt8(ascii: "%")) else { return String(decoding: text, as: UTF8.self) }
  var bytes: [UInt8] = []
  bytes.reserveCapacity(text.count)
  var index = 0
  while index < text.count {
    if text[index] == UInt8(ascii: "%"), let high = hex(index + 1), let low = hex(index + 2) {
      bytes.append(high << 4 | low)
      index += 3
    } else {
      bytes.append(text[index])
      index += 1
    }
  }
  return String(decoding: bytes, as: UTF8.self)
}
