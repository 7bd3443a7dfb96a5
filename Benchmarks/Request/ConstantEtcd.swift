import EventLoop

/// A connection in memory to an etcd that answers each call with the same message, at next to no cost.
///
/// It takes no notice of what is asked, nor of windows: the requests of a run fit into the first one.
final class ConstantEtcd: ByteStream {
  private enum FrameType {
    static let data: UInt8 = 0
    static let settings: UInt8 = 4
    static let ping: UInt8 = 6
  }

  private static let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8.count
  /// `:status: 200` and `content-type: application/grpc`, and `grpc-status: 0`, in HPACK without its dynamic table (RFC
  /// 7541, appendix A and section 6.2.2).
  private static let head: [UInt8] = [0x88, 0x0f, 0x10, 16] + Array("application/grpc".utf8)
  private static let trailers: [UInt8] = [0x00, 11] + Array("grpc-status".utf8) + [1, UInt8(ascii: "0")]

  var onEvent: (SocketEvents) -> Void = { _ in }
  private let message: [UInt8]
  private var hasBegun = false
  private var output: [UInt8] = []
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in onEvent(.readable) }
  private let loop: EventLoop

  /// - Parameter message: shorter than 16 KiB.
  init(on loop: EventLoop, answering message: [UInt8]) {
    self.loop = loop
    self.message = [0, 0, 0, UInt8(message.count >> 8), UInt8(message.count & 0xff)] + message
  }

  func watch(_ events: SocketEvents) {}

  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamSocket.ReadResult {
    guard !output.isEmpty else { return .wouldBlock }
    buffer.copyBytes(from: output)
    defer { output.removeAll(keepingCapacity: true) }
    return .bytes(output.count)
  }

  /// Takes whole frames.
  func write(_ bytes: UnsafeRawBufferPointer) -> Int {
    var start = 0
    if !hasBegun {
      hasBegun = true
      start = Self.preface
      add(FrameType.settings, flags: 0, [], stream: bytes[start..<start])
    }
    while start + 9 <= bytes.count {
      let length = Int(bytes[start]) << 16 | Int(bytes[start + 1]) << 8 | Int(bytes[start + 2])
      answer(bytes[start + 3], flags: bytes[start + 4], stream: bytes[start + 5..<start + 9])
      start += 9 + length
    }
    timer.start(after: 0)
    return bytes.count
  }

  private func answer(_ type: UInt8, flags: UInt8, stream: Slice<UnsafeRawBufferPointer>) {
    switch type {
    case FrameType.data where flags & 1 != 0:  // END_STREAM
      add(1, flags: 4, Self.head, stream: stream)  // HEADERS with END_HEADERS
      add(FrameType.data, flags: 0, message, stream: stream)
      add(1, flags: 5, Self.trailers, stream: stream)
    case FrameType.settings where flags == 0: add(FrameType.settings, flags: 1, [], stream: stream)
    case FrameType.ping where flags == 0: add(FrameType.ping, flags: 1, [0, 0, 0, 0, 0, 0, 0, 0], stream: stream)
    default: break
    }
  }

  /// Appends a frame (RFC 9113, section 4.1).
  private func add(_ type: UInt8, flags: UInt8, _ content: [UInt8], stream: Slice<UnsafeRawBufferPointer>) {
    output.append(0)
    output.append(UInt8(content.count >> 8))
    output.append(UInt8(content.count & 0xff))
    output.append(type)
    output.append(flags)
    if stream.isEmpty { for _ in 0..<4 { output.append(0) } } else { output += stream }
    output += content
  }
}
