/// Any bytes as binary input from etcd and clients. The first byte chooses the reader, and how the rest is cut into
/// pieces. Nothing crashes, how the bytes arrive makes no difference, and readers of one format agree.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzWire(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let start, count > 0 else { return 0 }
  let input = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
  let pieces = Pieces(seed: start[0] >> 3)
  switch start[0] & 7 {
  case 0, 1: checkReaders(input, pieces)
  case 2: checkWatchMessage(input)
  case 3: checkBatchAnswer(input)
  case 4: checkSingleRead(input)
  case 5: checkFrames(input, pieces, takesMany: false)
  case 6: checkFrames(input, pieces, takesMany: true)
  default: checkWebSocket(input, pieces)
  }
  return 0
}

/// How an input is cut: each piece is a copy, so that AddressSanitizer notices a read beyond it.
private struct Pieces {
  let seed: UInt8

  func forEach(of input: [UInt8], _ body: (UnsafeRawBufferPointer) -> Void) {
    var state = UInt64(seed)
    var rest = input[...]
    while !rest.isEmpty {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let size = seed == 0 ? 1 : seed == 1 ? rest.count : 1 + Int(state >> 33) % Int(seed)
      let piece = Array(rest.prefix(size))
      rest = rest.dropFirst(size)
      piece.withUnsafeBytes(body)
    }
  }
}

// MARK: - The readers of messages

/// The events of a message that both readers report.
private enum FieldEvent: Equatable {
  case number(path: Int, UInt64)
  case bytes(path: Int, [UInt8], rest: Int)
  case end(path: Int)
}

/// The paths of the messages that are parsed.
private let nested = [0x1, 0x2, 0x12, 0x123]

private func checkReaders(_ input: [UInt8], _ pieces: Pieces) {
  var pulled: [FieldEvent] = []
  let pullFault = input.withUnsafeBytes { bytes in
    do throws(WireError) {
      try pull(bytes, in: 0..<bytes.count, path: 0, &pulled)
      return nil as WireError?
    } catch {
      return error
    }
  }
  var parser = ProtobufPushParser(length: input.count, messages: nested)
  var pushed: [FieldEvent] = []
  var open: (path: Int, bytes: [UInt8], rest: Int)?
  pieces.forEach(of: input) { piece in
    var piece = piece
    while let event = parser.next(&piece) {
      switch event {
      case .number(let path, let value): pushed.append(.number(path: path, value))
      case .begin(let path, _, let rest): open = (path, [], rest)
      case .bytes(_, let bytes): open?.bytes += bytes
      case .end(let path):
        pushed.append(open.map { .bytes(path: $0.path, $0.bytes, rest: $0.rest) } ?? .end(path: path))
        open = nil
      }
    }
  }
  var pushFault: WireError?
  do throws(WireError) { try parser.finish() } catch { pushFault = error }
  require(pushFault == pullFault, "pulled: \(String(describing: pullFault)), pushed: \(String(describing: pushFault))")
  require(pullFault != nil || pulled == pushed, "pulled: \(pulled), pushed: \(pushed)")
}

private func pull(
  _ bytes: UnsafeRawBufferPointer, in range: Range<Int>, path: Int, _ events: inout [FieldEvent]
) throws(WireError) {
  var parser = ProtobufPullParser(bytes, in: range)
  var end = range.lowerBound
  while let field = try parser.next() {
    require(field.whole.lowerBound == end && field.whole.upperBound <= range.upperBound, "\(field) after \(end)")
    require(field.content.isEmpty || field.content.upperBound == field.whole.upperBound, "\(field)")
    end = field.whole.upperBound
    let path = field.number <= 15 ? path << 4 | field.number : 0
    switch field.wireType {
    case .varint: events.append(.number(path: path, field.value))
    case .lengthDelimited where nested.contains(path):
      try pull(bytes, in: field.content, path: path, &events)
      events.append(.end(path: path))
    case .lengthDelimited where path != 0:
      events.append(.bytes(path: path, Array(bytes[field.content]), rest: range.upperBound - end))
    default: break
    }
  }
  require(end == range.upperBound, "the fields end at \(end) of \(range)")
}

// MARK: - Messages that are looked into

/// The parts of a watch's message that are passed on can be parsed, and mean the same.
private func checkWatchMessage(_ input: [UInt8]) {
  guard let message = try? WatchMessage(input) else { return }
  _ = WatchResponse.header(message.header, at: 7)
  for passesFragments in [false, true] {
    var assembler = WatchAssembler(passesFragments: passesFragments)
    guard let response = assembler.take(message) else { continue }
    require(response.hasEvents, "a response without events")
    var bytes: [UInt8] = []
    response.encoded(watchID: message.watchID) { bytes += $0 }
    guard let again = try? WatchMessage(bytes) else { fatalError("what is passed on is no watch message: \(bytes)") }
    require(again.watchID == message.watchID && again.cancelReason == message.cancelReason, "\(again), \(message)")
    require(again.isCreated == message.isCreated && again.isCanceled == message.isCanceled, "\(again), \(message)")
    require(again.events.map(\.revision) == response.marks.map(\.revision), "other events: \(again), \(message)")
    require(message.isFragment || again.events.count == message.events.count, "lost events: \(again), \(message)")
    require(message.isFragment || again.revision == message.revision, "another revision: \(again), \(message)")
  }
}

/// The header that is made for each part of an answer is valid, and has the part's revision.
private func checkBatchAnswer(_ input: [UInt8]) {
  guard let count = input.first.map({ Int($0 & 3) }) else { return }
  Array(input.dropFirst()).withUnsafeBytes { bytes in
    guard let answer = try? BatchAnswer(bytes, count: count) else { return }
    for part in answer.parts {
      let header = answer.withHeader(of: part, in: bytes) { Array($0) }
      header.withUnsafeBytes { header in
        var fields = ProtobufPullParser(header, in: 0..<header.count)
        guard let field = try? fields.next(), field.number == 1, field.whole == 0..<header.count else {
          fatalError("no header: \(Array(header))")
        }
        var members = ProtobufPullParser(header, in: field.content)
        var revision: UInt64?
        while let member = try? members.next() {
          if member.number == 3 { revision = member.value }
        }
        require(revision == part.revision, "another revision: \(Array(header))")
      }
      require(part.rest.upperBound <= bytes.count, "a part ends at \(part.rest)")
    }
  }
}

/// A read that may share a batch is a message for one key.
private func checkSingleRead(_ input: [UInt8]) {
  input.withUnsafeBytes { bytes in
    guard SingleRead(bytes) != nil else { return }
    var fields = ProtobufPullParser(bytes, in: 0..<bytes.count)
    var keys = 0
    do throws(WireError) {
      while let field = try fields.next() { keys += field.number == 1 ? 1 : 0 }
    } catch {
      fatalError("a read that is no message: \(input)")
    }
    require(keys == 1, "a read of \(keys) keys: \(input)")
  }
}

// MARK: - gRPC frames

private enum FrameEvent: Equatable {
  case begin(Int)
  case message([UInt8])
  case violation(String)
}

private func checkFrames(_ input: [UInt8], _ pieces: Pieces, takesMany: Bool) {
  let (whole, isWhole) = frames(input, Pieces(seed: 1), takesMany: takesMany)
  let (cut, isCutWhole) = frames(input, pieces, takesMany: takesMany)
  require(whole == cut && isWhole == isCutWhole, "whole: \(whole), in pieces: \(cut)")
  guard isWhole else { return }
  let count = whole.reduce(0) { if case .message(let bytes) = $1 { $0 + 5 + bytes.count } else { $0 } }
  require(count == input.count, "messages of \(count) bytes in \(input.count)")
}

private func frames(_ input: [UInt8], _ pieces: Pieces, takesMany: Bool) -> ([FrameEvent], isComplete: Bool) {
  var reader = FrameReader(takesMany: takesMany)
  var events: [FrameEvent] = []
  var message: [UInt8] = []
  var length = 0
  var isBroken = false
  pieces.forEach(of: input) { piece in
    var piece = piece
    while !isBroken, let event = reader.next(&piece) {
      switch event {
      case .begin(let announced):
        (message, length) = ([], announced)
        events.append(.begin(announced))
      case .bytes(let bytes): message += bytes
      case .end:
        require(message.count == length, "\(message.count) bytes of \(length)")
        events.append(.message(message))
      case .violation(let reason):
        isBroken = true
        events.append(.violation(reason))
      }
    }
  }
  return (events, !isBroken && reader.isComplete)
}

// MARK: - WebSockets

/// How a client's frames are cut, and whether messages are taken at once, makes no difference to the results.
private func checkWebSocket(_ input: [UInt8], _ pieces: Pieces) {
  let whole = Listener(input, Pieces(seed: 1), takesAtOnce: true)
  let cut = Listener(input, pieces, takesAtOnce: true)
  let held = Listener(input, pieces, takesAtOnce: false)
  require(whole.heard == cut.heard, "whole: \(whole.heard), in pieces: \(cut.heard)")
  require(whole.heard == held.heard, "at once: \(whole.heard), later: \(held.heard)")
}

private final class Listener: WebSocketProtocolDelegate {
  enum Event: Equatable {
    case text([UInt8])
    case pong
    case close([UInt8])
    case end
  }

  private(set) var heard: [Event] = []
  private let takesAtOnce: Bool
  private static let maxBytes = 200

  init(_ input: [UInt8], _ pieces: Pieces, takesAtOnce: Bool) {
    self.takesAtOnce = takesAtOnce
    let webSocket = WebSocketProtocol(maxMessageBytes: Self.maxBytes, memory: MemoryAccount(), delegate: self)
    pieces.forEach(of: input) { piece in
      webSocket.receive(piece)
      while webSocket.isOpen && !webSocket.takesMessages { webSocket.takesMessages = true }
    }
    require(webSocket.isOpen != heard.contains(.end), "open and ended: \(heard)")
  }

  func webSocket(_ webSocket: WebSocketProtocol, received text: UnsafeRawBufferPointer) {
    require(text.count <= Self.maxBytes, "a message of \(text.count) bytes")
    require(String(validating: text, as: UTF8.self) != nil, "a text that is not UTF-8: \(Array(text))")
    heard.append(.text(Array(text)))
    webSocket.takesMessages = takesAtOnce
  }

  func webSocket(_ webSocket: WebSocketProtocol, sends frame: [UInt8]) {
    require(frame.count >= 2 && frame[0] & 0xf0 == 0x80 && Int(frame[1]) == frame.count - 2, "a frame: \(frame)")
    // How many pings are answered depends on how many come at once.
    require(frame[0] == 0x88 || frame[0] == 0x8a, "neither a pong nor a close frame: \(frame)")
    if frame[0] == 0x88 { heard.append(.close(Array(frame.dropFirst(2)))) }
  }

  func webSocketReceivedPong(_ webSocket: WebSocketProtocol) { heard.append(.pong) }

  func webSocketEnded(_ webSocket: WebSocketProtocol) { heard.append(.end) }
}
