import ByteBuffers
internal import CWslay

/// Notifies the owner of a WebSocket while that is given bytes.
package protocol WebSocketProtocolDelegate: AnyObject {
  /// A whole message: text that is known to be UTF-8. Its bytes are valid during the call only.
  func webSocket(_ webSocket: WebSocketProtocol, received text: UnsafeRawBufferPointer)
  /// A frame has to be sent: the answer to a ping, a ping, or the last frame.
  func webSocket(_ webSocket: WebSocketProtocol, sends frame: [UInt8])
  /// The peer has answered a ping.
  func webSocketReceivedPong(_ webSocket: WebSocketProtocol)
  /// The peer has closed the WebSocket, or has broken its rules and was sent a close frame. Nothing follows.
  func webSocketEnded(_ webSocket: WebSocketProtocol)
}

/// The server's side of one WebSocket after its handshake (RFC 6455), without a socket: it gets the bytes that arrive,
/// and passes on messages and the frames that have to be sent in reply. Messages to the peer are frames of their own:
/// ``StreamFrame/messageHeader``.
///
/// libwslay reads the frames (wslay.h, the frame-based API): headers, lengths in their shortest form, masks, control
/// frames that are short and whole. This class decides what frames mean. libwslay's event-based API (1.1.1) is not
/// used: it takes a hundred bytes of memory for each fragment however small, queues a pong for each ping without a
/// limit, checks the UTF-8 of a close frame's reason wrongly if it comes in pieces, accepts a close frame of one byte,
/// answers a broken frame with a close frame without a code, and copies what is sent.
package final class WebSocketProtocol {
  /// Of pings that come at once, so many are answered, and the last one (section 5.5.3).
  private static let maxPongs = 32

  private unowned let delegate: any WebSocketProtocolDelegate
  private let maxMessageBytes: UInt64
  /// Invariant: freed with this object only. Its callbacks get this object unretained, and are only called from within
  /// this object's own calls.
  private var context: wslay_frame_context_ptr!
  /// Whether no close frame was sent or received: messages may be sent, and are accepted.
  package private(set) var isOpen = true

  /// The bytes that libwslay reads, while it is called.
  private var input = UnsafeRawBufferPointer(start: nil, count: 0)
  /// Bytes that came while no messages were accepted.
  private var inbox = ByteBuffer()
  private var isParsing = false
  /// How many bytes libwslay holds of incomplete frames.
  private var partialCount: UInt64 = 0
  /// How many bytes of the current frame's payload have come; nil between frames.
  private var frameOffset: UInt64?
  /// Whether more frames of a message are to come.
  private var isInMessage = false
  private var message = ByteBuffer()
  /// Counts incomplete messages and waiting bytes as kept for the client.
  private var kept: KeptBytes
  /// How many bytes of `message` are known to be UTF-8.
  private var checkedCount = 0
  private var control: [UInt8] = []
  /// How many pings were answered since bytes last came, and the last ping if it was not answered.
  private var pongCount = 0
  private var unanswered: [UInt8]?

  /// - Parameters:
  ///   - maxMessageBytes: how large a message may be.
  ///   - memory: counts the kept bytes of messages.
  package init(maxMessageBytes: Int, memory: MemoryAccount, delegate: any WebSocketProtocolDelegate) {
    self.maxMessageBytes = UInt64(maxMessageBytes)
    kept = KeptBytes(memory)
    self.delegate = delegate
    var callbacks = wslay_frame_callbacks(
      send_callback: nil,
      recv_callback: { buffer, count, _, context in
        Unmanaged<WebSocketProtocol>.fromOpaque(context!).takeUnretainedValue()
          .take(into: UnsafeMutableRawBufferPointer(start: buffer, count: count))
      },
      genmask_callback: nil)
    let code = wslay_frame_context_init(&context, &callbacks, Unmanaged.passUnretained(self).toOpaque())
    precondition(code == 0, "out of memory")
  }

  deinit { wslay_frame_context_free(context) }

  // MARK: - Reading

  /// Whether a frame or a message is incomplete.
  package var awaitsRest: Bool { isOpen && (partialCount > 0 || isInMessage) }

  /// Whether messages are accepted now. Otherwise bytes that come are kept as they are, so that few should come.
  package var takesMessages = true {
    didSet { if takesMessages && !oldValue && !isParsing { takeInbox() } }
  }

  /// Takes bytes that have come; the delegate is notified meanwhile.
  package func receive(_ bytes: UnsafeRawBufferPointer) {
    guard isOpen else { return }
    // The inbox is empty whenever messages are accepted.
    if takesMessages {
      parse(bytes)
    } else {
      inbox.append(bytes)
      keep()
    }
  }

  /// Counts the kept bytes, for which there may be no room.
  private func keep() {
    if isOpen && !kept.set(to: inbox.count + message.count) { fail(.tryAgainLater, "\(MemoryAccount.shortage)") }
  }

  private func takeInbox() {
    let bytes = inbox.takeAll()
    bytes.withUnsafeBytes { parse($0) }
  }

  private func parse(_ bytes: UnsafeRawBufferPointer) {
    precondition(!isParsing, "bytes must not be handed in from within the delegate")
    isParsing = true
    pongCount = 0
    input = bytes
    while isOpen && takesMessages {
      var frame = wslay_frame_iocb()
      let count = wslay_frame_recv(context, &frame)
      if count >= 0 {
        receive(frame)
      } else if count == Int(WSLAY_ERR_WANT_READ.rawValue) {
        break
      } else {
        fail(.protocolError, "a frame's length is not in its shortest form, or a control frame is too long or in parts")
      }
    }
    if isOpen {
      inbox.append(input)
      keep()
      if let payload = unanswered.take() { send(.pong, payload) }
    }
    input = UnsafeRawBufferPointer(start: nil, count: 0)
    isParsing = false
  }

  /// libwslay reads bytes by this. It reads again only if it needs more than it got, so that 0 means that there are no
  /// more.
  private func take(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    let count = min(buffer.count, input.count)
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: input[..<count]))
    input = UnsafeRawBufferPointer(rebasing: input[count...])
    partialCount += UInt64(count)
    return count
  }

  /// Takes a frame or the next part of one; the frame's header is complete in any case.
  private func receive(_ frame: wslay_frame_iocb) {
    guard let opcode = WebSocketOpcode(rawValue: frame.opcode) else {
      return fail(.protocolError, "a frame has a reserved opcode")
    }
    if frameOffset == nil {
      if let (code, reason) = fault(of: frame, opcode) { return fail(code, reason) }
    }
    let bytes = UnsafeRawBufferPointer(start: frame.data, count: frame.data_length)
    let offset = (frameOffset ?? 0) + UInt64(bytes.count)
    let isEnd = offset == frame.payload_length
    frameOffset = isEnd ? nil : offset
    if isEnd { partialCount -= UInt64(WebSocketHeader.count(of: frame.payload_length, isMasked: true)) + offset }
    switch opcode {
    case .close, .ping, .pong:
      control += bytes
      if isEnd { takeControl(opcode) }
    case .text, .continuation, .binary:
      isInMessage = !isEnd || frame.fin == 0
      takeText(bytes, isWhole: opcode == .text && frame.fin == 1 && bytes.count == Int(frame.payload_length))
    }
  }

  /// The fault of a frame, as far as its header shows it.
  private func fault(of frame: wslay_frame_iocb, _ opcode: WebSocketOpcode) -> (WebSocketCloseCode, String)? {
    if frame.rsv != 0 { return (.protocolError, "a frame has reserved bits set though no extension is agreed on") }
    if frame.mask == 0 { return (.protocolError, "a frame is not masked") }
    switch opcode {
    case .continuation where !isInMessage: return (.protocolError, "a message begins with a continuation frame")
    case .text where isInMessage, .binary where isInMessage:
      return (.protocolError, "a message begins before the one before it has ended")
    case .binary: return (.unsupportedData, "only text messages are supported")
    case .continuation, .text:
      guard UInt64(message.count) + frame.payload_length > maxMessageBytes else { return nil }
      return (.tooLarge, "the message is larger than \(maxMessageBytes) bytes (--max-request-bytes)")
    case .close where frame.payload_length == 1: return (.protocolError, "a close frame has an incomplete code")
    case .close, .ping, .pong: return nil
    }
  }

  private func takeText(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) {
    if isWhole {
      // Passed on without a copy.
      guard UTF8Text.wellFormed(bytes) == bytes.count else { return failOnEncoding() }
      return delegate.webSocket(self, received: bytes)
    }
    message.append(bytes)
    keep()
    guard isOpen else { return }
    let wellFormed = message.withUnsafeBytes {
      UTF8Text.wellFormed(UnsafeRawBufferPointer(rebasing: $0[checkedCount...]))
    }
    guard let wellFormed else { return failOnEncoding() }
    checkedCount += wellFormed
    guard !isInMessage else { return }
    guard checkedCount == message.count else { return failOnEncoding() }
    let text = message.takeAll()
    checkedCount = 0
    text.withUnsafeBytes { delegate.webSocket(self, received: $0) }
  }

  private func takeControl(_ opcode: WebSocketOpcode) {
    let payload = control
    control = []
    switch opcode {
    case .pong: delegate.webSocketReceivedPong(self)
    case .close: takeClose(payload)
    case .ping where pongCount < Self.maxPongs:
      pongCount += 1
      send(.pong, payload)
    default: unanswered = payload
    }
  }

  private func takeClose(_ payload: [UInt8]) {
    if payload.count >= 2 {
      let code = WebSocketCloseCode(rawValue: UInt16(payload[0]) << 8 | UInt16(payload[1]))
      guard code.mayBeReceived else { return fail(.protocolError, "a close frame has an invalid code") }
      let reasonCount = payload.count - 2
      let wellFormed = payload.withUnsafeBytes { UTF8Text.wellFormed(UnsafeRawBufferPointer(rebasing: $0[2...])) }
      guard wellFormed == reasonCount else { return failOnEncoding() }
    }
    // The answer has the same code (section 5.5.1).
    send(.close, Array(payload.prefix(2)))
    end()
    delegate.webSocketEnded(self)
  }

  private func failOnEncoding() { fail(.invalidData, "a text is not UTF-8") }

  /// Fails the connection (section 7.1.7).
  private func fail(_ code: WebSocketCloseCode, _ reason: String) {
    close(code, reason)
    delegate.webSocketEnded(self)
  }

  // MARK: - Writing

  /// Sends a ping, unless the WebSocket is closed.
  package func ping() {
    if isOpen { send(.ping, []) }
  }

  /// Sends a close frame, unless the WebSocket is closed: the last frame, after which incoming bytes are ignored.
  ///
  /// - Parameter reason: for people; cut after 123 bytes.
  package func close(_ code: WebSocketCloseCode, _ reason: String = "") {
    guard isOpen else { return }
    var payload = [UInt8(code.rawValue >> 8), UInt8(truncatingIfNeeded: code.rawValue)]
    for character in reason {
      guard payload.count + character.utf8.count <= 125 else { break }
      payload += character.utf8
    }
    send(.close, payload)
    end()
  }

  private func end() {
    isOpen = false
    inbox.removeAll()
    message.removeAll()
    kept.release()
    control = []
    unanswered = nil
  }

  /// Sends a control frame.
  private func send(_ opcode: WebSocketOpcode, _ payload: [UInt8]) {
    var frame = [UInt8](repeating: 0, count: WebSocketHeader.maxBytes)
    let count = frame.withUnsafeMutableBytes { WebSocketHeader.write(opcode, count: payload.count, to: $0) }
    delegate.webSocket(self, sends: Array(frame[..<count]) + payload)
  }
}
