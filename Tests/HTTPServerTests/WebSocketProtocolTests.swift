import EventLoop
import Testing

@testable import HTTPServer

extension MemoryAccount {
  /// One of its own.
  convenience init(bytes: Int) throws {
    let loop = try EventLoop()
    self.init(MemoryBudget(bytes: bytes), trimmer: MemoryTrimmer(loop: loop))
  }
}

/// Records what a WebSocket makes of its bytes.
private final class Recorder: WebSocketProtocolDelegate {
  var texts: [String] = []
  var frames: [[UInt8]] = []
  var pongs = 0
  var ends = 0
  var onText: (WebSocketProtocol) -> Void = { _ in }
  private(set) lazy var webSocket = WebSocketProtocol(
    maxMessageBytes: 1000, memory: try! MemoryAccount(bytes: 1 << 20), delegate: self)

  func webSocket(_ webSocket: WebSocketProtocol, received text: UnsafeRawBufferPointer) {
    texts.append(String(decoding: text, as: UTF8.self))
    onText(webSocket)
  }
  func webSocket(_ webSocket: WebSocketProtocol, sends frame: [UInt8]) { frames.append(frame) }
  func webSocketReceivedPong(_ webSocket: WebSocketProtocol) { pongs += 1 }
  func webSocketEnded(_ webSocket: WebSocketProtocol) { ends += 1 }

  func receive(_ bytes: [UInt8]) { bytes.withUnsafeBytes { webSocket.receive($0) } }

  /// The code of the last frame, if that is a proper close frame; nil otherwise.
  var closeCode: Int? {
    guard let frame = frames.last, frame[0] == 0x88, frame.count == 2 + Int(frame[1]), frame.count >= 4 else {
      return nil
    }
    return Int(frame[2]) << 8 | Int(frame[3])
  }
}

/// A client's frame.
private func frame(
  _ opcode: UInt8, _ payload: [UInt8] = [], fin: Bool = true, rsv: UInt8 = 0, mask: [UInt8]? = [1, 2, 3, 4]
) -> [UInt8] {
  var bytes = [(fin ? 0x80 : 0) | rsv << 4 | opcode]
  let bit: UInt8 = mask == nil ? 0 : 0x80
  switch payload.count {
  case ..<126: bytes.append(bit | UInt8(payload.count))
  case ..<65536: bytes += [bit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
  default: bytes += [bit | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
  }
  guard let mask else { return bytes + payload }
  return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 % 4] }
}

private func text(_ text: String, fin: Bool = true) -> [UInt8] { frame(1, Array(text.utf8), fin: fin) }

@Suite struct WebSocketProtocolTests {
  private let recorder = Recorder()

  // MARK: Messages

  @Test(arguments: ["", "{}", "Ünï©ödé 🦆", String(repeating: "ä", count: 500)])
  func aMessageIsHandedOn(_ message: String) {
    recorder.receive(text(message) + text("next"))
    #expect(recorder.texts == [message, "next"])
    #expect(recorder.frames.isEmpty)
  }

  @Test func aMessageMayComeByteByByte() {
    let message = String(repeating: "Ünï©ödé 🦆 ", count: 40)
    let bytes = text(message) + frame(9, [7]) + text("next") + frame(8, [3, 232, 0xc3, 0xa4])
    for byte in bytes { recorder.receive([byte]) }
    #expect(recorder.texts == [message, "next"])
    #expect(recorder.frames == [[0x8a, 1, 7], [0x88, 2, 3, 232]])
    #expect(recorder.ends == 1)
  }

  @Test(arguments: [0, 1, 125, 126, 900])
  func whatHasBegunIsAwaited(_ count: Int) {
    let bytes = frame(1, [UInt8](repeating: 32, count: count), fin: false) + frame(9, [7]) + frame(0, [33])
    #expect(!recorder.webSocket.awaitsRest)
    for byte in bytes {
      #expect(recorder.texts.isEmpty)
      recorder.receive([byte])
      #expect(recorder.webSocket.awaitsRest == recorder.texts.isEmpty)
    }
    // Bytes that libwslay has read ahead count, too.
    recorder.receive(text("whole") + [0x81])
    #expect(recorder.texts.count == 2 && recorder.webSocket.awaitsRest)
    recorder.receive(Array(text("x")[1...]))
    #expect(recorder.texts.count == 3 && !recorder.webSocket.awaitsRest)
  }

  @Test func fragmentsAreJoinedAroundControlFrames() {
    let bytes = Array("ä🦆!".utf8)
    // Cut in the middle of characters, and with empty fragments.
    recorder.receive(
      frame(1, Array(bytes[..<1]), fin: false) + frame(9, [1]) + frame(0, [], fin: false)
        + frame(0, Array(bytes[1..<4]), fin: false) + frame(10) + frame(0, Array(bytes[4...])))
    #expect(recorder.texts == ["ä🦆!"])
    #expect(recorder.frames == [[0x8a, 1, 1]])
    #expect(recorder.pongs == 1)
  }

  @Test func aMessageMayBeAsLargeAsTheLimitAndNoLarger() {
    let most = String(repeating: "x", count: 1000)
    recorder.receive(text(most) + text(most, fin: false) + frame(0))
    #expect(recorder.texts == [most, most])
    recorder.receive(text(most + "x"))
    #expect(recorder.closeCode == 1009)
    #expect(recorder.texts.count == 2)
  }

  @Test func fragmentsBeyondTheLimitAreRefusedAtTheirHeader() {
    recorder.receive(text(String(repeating: "x", count: 999), fin: false))
    // One byte of a frame that says it has 2.
    recorder.receive(Array(frame(0, [1, 2]).dropLast()))
    #expect(recorder.closeCode == 1009)
  }

  @Test func aLengthOfAlmostAllThereIsOverflowsNothing() {
    recorder.receive(text("x", fin: false))
    recorder.receive([0x80, 0xff, 0x7f] + [UInt8](repeating: 0xff, count: 7) + [1, 2, 3, 4, 5])
    #expect(recorder.closeCode == 1009)
  }

  @Test func aBinaryMessageIsNotUnderstood() {
    recorder.receive(frame(2, [1, 2]))
    #expect(recorder.closeCode == 1003)
  }

  // MARK: UTF-8

  static let malformed: [[UInt8]] = [
    [0xc3], [0x80], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82],
    Array("abcdefghijklmn".utf8) + [0xff],
  ]

  @Test(arguments: malformed)
  func textIsUTF8(_ bytes: [UInt8]) {
    recorder.receive(frame(1, bytes))
    #expect(recorder.closeCode == 1007)
    #expect(recorder.texts.isEmpty)
    #expect(recorder.ends == 1)
  }

  @Test(arguments: malformed)
  func textInFragmentsIsUTF8(_ bytes: [UInt8]) {
    for (index, byte) in bytes.enumerated() { recorder.receive(frame(index == 0 ? 1 : 0, [byte], fin: false)) }
    recorder.receive(frame(0, []))
    #expect(recorder.closeCode == 1007)
    #expect(recorder.texts.isEmpty)
  }

  @Test func badTextIsNotWaitedForToEnd() {
    recorder.receive(Array(frame(1, [0x61, 0xf5] + [UInt8](repeating: 0x61, count: 90))[..<8]))
    #expect(recorder.closeCode == 1007)
  }

  // MARK: What is not allowed

  static let forbidden: [[UInt8]] =
    (1...7).map { frame(1, [0x61], rsv: $0) } + [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map { frame($0) }
    + [
      frame(1, [0x61], mask: nil), frame(9, mask: nil), frame(8, [3, 232], mask: nil),
      frame(9, [UInt8](repeating: 0, count: 126)), frame(8, [3, 232] + [UInt8](repeating: 0x61, count: 124)),
      frame(9, fin: false), frame(8, fin: false), frame(9, rsv: 4),
      frame(0, [0x61]), frame(0, [0x61], fin: false),
      text("a", fin: false) + text("b"), text("a", fin: false) + frame(2, [1]),
      // Lengths that would fit into fewer bytes, and one with the highest bit.
      [0x81, 0xfe, 0, 1, 0, 0, 0, 0, 0x61], [0x81, 0xff, 0, 0, 0, 0, 0, 0, 1, 0],
      [0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
      // Close frames.
      frame(8, [3]),
    ]
    + [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65535].map {
      frame(8, [UInt8($0 >> 8), UInt8($0 & 255)])
    }

  @Test(arguments: forbidden)
  func whatTheRulesForbidEndsTheWebSocket(_ bytes: [UInt8]) {
    // Bytes after it are ignored.
    recorder.receive(bytes + text("later") + frame(9))
    #expect(recorder.closeCode == 1002)
    #expect(recorder.frames.count == 1)
    #expect(recorder.texts.isEmpty)
    #expect(recorder.ends == 1)
    #expect(!recorder.webSocket.isOpen)
  }

  @Test(arguments: forbidden)
  func whatTheRulesForbidMayComeByteByByte(_ bytes: [UInt8]) {
    for byte in bytes + frame(9) { recorder.receive([byte]) }
    #expect(recorder.closeCode == 1002)
    #expect(recorder.frames.count == 1)
    #expect(recorder.ends == 1)
  }

  // MARK: The end

  @Test(arguments: [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999])
  func aCloseFrameIsAnsweredWithItsCode(_ code: Int) {
    let payload = [UInt8(code >> 8), UInt8(code & 255)] + Array("Grüße".utf8)
    recorder.receive(text("a") + frame(8, payload) + text("b"))
    recorder.receive(text("c") + frame(8) + frame(9))
    #expect(recorder.texts == ["a"])
    #expect(recorder.closeCode == code)
    #expect(recorder.frames.count == 1)
    #expect(recorder.ends == 1)
  }

  @Test func aCloseFrameWithoutACodeIsAnsweredWithoutOne() {
    recorder.receive(frame(8))
    #expect(recorder.frames == [[0x88, 0]])
    #expect(recorder.ends == 1)
  }

  @Test func aCloseFramesReasonIsUTF8() {
    recorder.receive(frame(8, [3, 232, 0xc3]))
    #expect(recorder.closeCode == 1007)
  }

  @Test func afterOurCloseFrameNothingIsTakenOrSent() {
    recorder.receive(text("a", fin: false))
    recorder.webSocket.close(.goingAway, "bye")
    #expect(recorder.frames == [[0x88, 5, 3, 233] + Array("bye".utf8)])
    recorder.receive(frame(0) + text("b") + frame(9) + frame(8, [3, 233]))
    recorder.webSocket.ping()
    recorder.webSocket.close(.normal)
    #expect(recorder.frames.count == 1)
    #expect(recorder.texts.isEmpty)
    #expect(recorder.ends == 0)
  }

  @Test func aMessageMayBeAnsweredByTheEnd() {
    recorder.onText = { $0.close(.normal) }
    recorder.receive(text("a") + text("b"))
    #expect(recorder.texts == ["a"])
    #expect(recorder.closeCode == 1000)
    #expect(recorder.ends == 0)
  }

  @Test func aLongReasonIsCutBetweenCharacters() throws {
    recorder.webSocket.close(.normal, String(repeating: "🦆", count: 40))
    let close = try #require(recorder.frames.first)
    #expect(String(validating: close.dropFirst(4), as: UTF8.self) == String(repeating: "🦆", count: 30))
    #expect(Int(close[1]) == close.count - 2)
  }

  // MARK: Pings and pauses

  @Test func pingsAreAnsweredInOrder() {
    recorder.receive(frame(9) + frame(9, Array("hello".utf8)) + frame(9, [UInt8](repeating: 7, count: 125)))
    let expected: [[UInt8]] = [[], Array("hello".utf8), [UInt8](repeating: 7, count: 125)]
    #expect(recorder.frames == expected.map { [0x8a, UInt8($0.count)] + $0 })
  }

  @Test func ofAFloodOfPingsTheLastIsAnsweredInAnyCase() {
    recorder.receive((0..<200).flatMap { frame(9, [UInt8($0)]) })
    #expect(recorder.frames.count < 100)
    #expect(recorder.frames.last == [0x8a, 1, 199])
  }

  @Test func pingsOfOurs() {
    recorder.webSocket.ping()
    #expect(recorder.frames == [[0x89, 0]])
    recorder.receive(frame(10))
    #expect(recorder.pongs == 1)
  }

  @Test func messagesWaitWhileNoneAreTaken() {
    recorder.onText = { $0.takesMessages = false }
    recorder.receive(text("a") + text("b") + frame(9, [1]))
    recorder.receive(text(String(repeating: "c", count: 900)) + frame(8, [3, 232]))
    #expect(recorder.texts == ["a"])
    #expect(recorder.frames.isEmpty)
    recorder.webSocket.takesMessages = true
    #expect(recorder.texts == ["a", "b"])
    recorder.onText = { _ in }
    recorder.webSocket.takesMessages = true
    #expect(recorder.texts.count == 3)
    #expect(recorder.frames == [[0x8a, 1, 1], [0x88, 2, 3, 232]])
    #expect(recorder.ends == 1)
  }

  // MARK: Messages to the peer

  @Test(arguments: [0, 1, 125, 126, 127, 65535, 65536, 100_000])
  func aFrameHasAHeaderInItsShortestForm(_ count: Int) {
    var header = [UInt8](repeating: 0, count: WebSocketHeader.maxBytes)
    let size = header.withUnsafeMutableBytes { WebSocketHeader.write(.text, count: count, to: $0) }
    let expected = frame(1, [UInt8](repeating: 0, count: count), mask: nil).dropLast(count)
    #expect(header.prefix(size) == expected[...])
  }
}
