import ByteBuffers
import HTTPServer
import Testing

@testable import Gateway

/// The forms that one message of a stream has.
@Suite struct StreamFrameTests {
  @Test(arguments: [0, 1, 125, 126, 127, 65535, 65536, 100_000])
  func oneBufferHasAllForms(_ count: Int) {
    let json = [UInt8](repeating: 0x61, count: count)
    let frame = StreamFrame { $0.append(json) }
    var header = [UInt8](repeating: 0, count: WebSocketHeader.maxBytes)
    let size = header.withUnsafeMutableBytes { WebSocketHeader.write(.text, count: count, to: $0) }
    #expect(Array(frame.messageHeader) == Array(header.prefix(size)))
    #expect(Array(frame.json) == json)
    #expect(Array(frame.line) == json + [10])
    #expect(Array(frame.chunk) == Array("\(String(count + 1, radix: 16))\r\n".utf8) + json + [10, 13, 10])
  }
}
