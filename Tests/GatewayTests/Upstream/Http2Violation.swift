import TestSupport

/// Frames as they are on the wire, right or wrong (RFC 9113, section 4.1).
struct RawFrame {
  static func bytes(
    _ type: UInt8, flags: UInt8 = 0, stream: Int32 = 0, _ payload: [UInt8] = [], claiming: Int? = nil
  ) -> [UInt8] {
    let length = claiming ?? payload.count
    let id = UInt32(bitPattern: stream)
    return [UInt8(length >> 16 & 255), UInt8(length >> 8 & 255), UInt8(length & 255), type, flags]
      + (0..<4).map { UInt8(truncatingIfNeeded: id >> (24 - 8 * $0)) } + payload
  }

  /// Appends whole frames: flattened byte by byte, megabytes take a debug build so long that the peer seems dead.
  static func repeated(_ frame: [UInt8], _ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(frame.count * count)
    for _ in 0..<count { bytes += frame }
    return bytes
  }

  static func number(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }

  static func setting(_ id: UInt16, _ value: UInt32) -> [UInt8] { [UInt8(id >> 8), UInt8(id & 255)] + number(value) }

  /// A header field as a literal without indexing (RFC 7541, section 6.2.2).
  static func field(_ name: String, _ value: String) -> [UInt8] {
    [0] + text(name) + text(value)
  }

  private static func text(_ text: String) -> [UInt8] {
    var count = text.utf8.count
    guard count >= 127 else { return [UInt8(count)] + text.utf8 }
    var bytes: [UInt8] = [127]
    count -= 127
    while count >= 128 {
      bytes.append(UInt8(count & 127) | 128)
      count >>= 7
    }
    return bytes + [UInt8(count)] + text.utf8
  }

  static let data: UInt8 = 0
  static let headers: UInt8 = 1
  static let priority: UInt8 = 2
  static let reset: UInt8 = 3
  static let settings: UInt8 = 4
  static let push: UInt8 = 5
  static let ping: UInt8 = 6
  static let goAway: UInt8 = 7
  static let window: UInt8 = 8
  static let continuation: UInt8 = 9
  static let endHeaders: UInt8 = 4
  static let endStream: UInt8 = 1
}

/// Ways in which a peer may break the rules of HTTP/2 while it has a call.
struct Http2Violation: Sendable {
  let name: String
  /// The bytes in place of the answer on a stream.
  let bytes: @Sendable (Int32) -> [UInt8]

  init(_ name: String, _ bytes: @escaping @Sendable (Int32) -> [UInt8]) {
    self.name = name
    self.bytes = bytes
  }

  private static let response = RawFrame.field(":status", "200") + RawFrame.field("content-type", "application/grpc")

  static let endlessHeaders = "a header list without end"

  /// Violations that end the connection.
  static let all: [Http2Violation] = [
    .init("DATA on a stream that never was") { _ in RawFrame.bytes(RawFrame.data, stream: 9999, [1, 2, 3]) },
    .init("DATA on stream 0") { _ in RawFrame.bytes(RawFrame.data, [1, 2, 3]) },
    .init("DATA on an even stream") { _ in RawFrame.bytes(RawFrame.data, stream: 2, [1]) },
    .init("padding beyond the frame") { RawFrame.bytes(RawFrame.data, flags: 8, stream: $0, [200, 1]) },
    .init("HEADERS on a stream that never was") { _ in
      RawFrame.bytes(RawFrame.headers, flags: RawFrame.endHeaders, stream: 9999, response)
    },
    .init("HEADERS on stream 0") { _ in RawFrame.bytes(RawFrame.headers, flags: RawFrame.endHeaders, response) },
    .init("HEADERS with an index beyond the table") {
      RawFrame.bytes(RawFrame.headers, flags: RawFrame.endHeaders, stream: $0, [0xff, 0xff, 0x7f])
    },
    .init("HEADERS cut short") {
      RawFrame.bytes(RawFrame.headers, flags: RawFrame.endHeaders, stream: $0, [0, 5, 1])
    },
    .init("a header table beyond what was allowed") {
      RawFrame.bytes(RawFrame.headers, flags: RawFrame.endHeaders, stream: $0, [0x3f, 0xff, 0xff, 0x7f])
    },
    .init("another frame between HEADERS and CONTINUATION") {
      RawFrame.bytes(RawFrame.headers, stream: $0, response)
        + RawFrame.bytes(RawFrame.ping, [UInt8](repeating: 0, count: 8))
    },
    .init("CONTINUATION without HEADERS") {
      RawFrame.bytes(RawFrame.continuation, flags: RawFrame.endHeaders, stream: $0, response)
    },
    .init("PUSH_PROMISE") {
      RawFrame.bytes(RawFrame.push, flags: RawFrame.endHeaders, stream: $0, RawFrame.number(2) + response)
    },
    .init("a frame larger than was allowed") {
      RawFrame.bytes(RawFrame.data, stream: $0, [UInt8](repeating: 0, count: 16_385))
    },
    .init("PRIORITY of four bytes on stream 0") { _ in RawFrame.bytes(RawFrame.priority, [0, 0, 0, 0]) },
    .init("RST_STREAM of a stream that never was") { _ in
      RawFrame.bytes(RawFrame.reset, stream: 9999, RawFrame.number(8))
    },
    .init("RST_STREAM of three bytes") { RawFrame.bytes(RawFrame.reset, stream: $0, [0, 0, 8]) },
    .init("RST_STREAM of stream 0") { _ in RawFrame.bytes(RawFrame.reset, RawFrame.number(8)) },
    .init("SETTINGS of five bytes") { _ in RawFrame.bytes(RawFrame.settings, [0, 0, 0, 0, 0]) },
    .init("SETTINGS of a stream") { RawFrame.bytes(RawFrame.settings, stream: $0, RawFrame.setting(3, 100)) },
    .init("an acknowledgement with settings") { _ in
      RawFrame.bytes(RawFrame.settings, flags: 1, RawFrame.setting(3, 100))
    },
    .init("a window beyond 2^31") { _ in RawFrame.bytes(RawFrame.settings, RawFrame.setting(4, 1 << 31)) },
    .init("frames of less than 2^14") { _ in RawFrame.bytes(RawFrame.settings, RawFrame.setting(5, 1)) },
    .init("a server that takes pushes") { _ in RawFrame.bytes(RawFrame.settings, RawFrame.setting(2, 2)) },
    .init("PING of seven bytes") { _ in RawFrame.bytes(RawFrame.ping, [0, 0, 0, 0, 0, 0, 0]) },
    .init("PING of a stream") { RawFrame.bytes(RawFrame.ping, stream: $0, [UInt8](repeating: 0, count: 8)) },
    .init("GOAWAY of four bytes") { _ in RawFrame.bytes(RawFrame.goAway, [0, 0, 0, 0]) },
    .init("GOAWAY of a stream") { RawFrame.bytes(RawFrame.goAway, stream: $0, [UInt8](repeating: 0, count: 8)) },
    .init("WINDOW_UPDATE of nothing") { _ in RawFrame.bytes(RawFrame.window, RawFrame.number(0)) },
    .init("WINDOW_UPDATE of three bytes") { _ in RawFrame.bytes(RawFrame.window, [0, 0, 1]) },
    .init("WINDOW_UPDATE beyond 2^31") { _ in RawFrame.bytes(RawFrame.window, RawFrame.number(.max >> 1)) },
    .init("a flood of PING") { _ in
      RawFrame.repeated(RawFrame.bytes(RawFrame.ping, [UInt8](repeating: 0, count: 8)), 20_000)
    },
    .init("a flood of SETTINGS") { _ in
      RawFrame.repeated(RawFrame.bytes(RawFrame.settings, RawFrame.setting(3, 100)), 20_000)
    },
    .init(endlessHeaders) { stream in
      RawFrame.bytes(RawFrame.headers, stream: stream, response)
        + RawFrame.repeated(
          RawFrame.bytes(
            RawFrame.continuation, stream: stream, RawFrame.field("x", String(repeating: "y", count: 16_000))), 400)
    },
    .init("a flood of DATA without content") { stream in
      RawFrame.bytes(RawFrame.headers, flags: RawFrame.endHeaders, stream: stream, response)
        + RawFrame.repeated(RawFrame.bytes(RawFrame.data, stream: stream), 130_000)
    },
    .init("a flood of DATA that is padding") { stream in
      RawFrame.bytes(RawFrame.headers, flags: RawFrame.endHeaders, stream: stream, response)
        + RawFrame.repeated(
          RawFrame.bytes(RawFrame.data, flags: 8, stream: stream, [255] + [UInt8](repeating: 0, count: 255)), 5000)
    },
    .init("a flood of frames of a kind that there is not") { _ in
      RawFrame.repeated(RawFrame.bytes(99, [UInt8](repeating: 0, count: 16_000)), 80)
    },
    .init("a flood of PRIORITY") { stream in
      RawFrame.repeated(RawFrame.bytes(RawFrame.priority, stream: stream, RawFrame.number(0) + [1]), 90_000)
    },
    .init("a flood of WINDOW_UPDATE") { stream in
      RawFrame.repeated(RawFrame.bytes(RawFrame.window, stream: stream, RawFrame.number(1)), 90_000)
    },
    .init("a flood of CONTINUATION without content") { stream in
      RawFrame.bytes(RawFrame.headers, stream: stream, response)
        + RawFrame.repeated(RawFrame.bytes(RawFrame.continuation, stream: stream), 130_000)
    },
    .init("a flood of answers that are none yet") { stream in
      RawFrame.repeated(
        RawFrame.bytes(
          RawFrame.headers, flags: RawFrame.endHeaders, stream: stream, RawFrame.field(":status", "103")), 50_000)
    },
    .init("HTTP/1") { _ in Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8) },
    .init("noise") { _ in (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ 13) } },
  ]
}
