import CNghttp2

/// Receives the events of a session; called from within nghttp2, so nothing may be sent or received here.
protocol PeerSessionOwner: AnyObject {
  func streamBegan(_ stream: Int32)
  func received(header: ScriptedPeer.Header, stream: Int32)
  func received(data: UnsafeBufferPointer<UInt8>, stream: Int32)
  func received(frame: PeerSession.Frame)
  func streamClosed(_ stream: Int32)
  /// Fills the buffer with DATA; nil if the stream is gone.
  func data(for stream: Int32, into buffer: UnsafeMutableBufferPointer<UInt8>) -> (count: Int, isLast: Bool)?
}

/// An nghttp2 server session: the only place where the peer touches nghttp2's functions.
final class PeerSession {
  enum Frame {
    /// HEADERS or DATA, after their contents were reported.
    case part(stream: Int32, isLast: Bool)
    case reset(stream: Int32, code: UInt32)
    case settings([(id: Int32, value: UInt32)])
    case ping
    case pong(UInt64)
    case goAway(code: UInt32)
    /// WINDOW_UPDATE of the connection.
    case window(increment: Int)
  }

  fileprivate unowned let owner: any PeerSessionOwner
  /// Made in the initialiser and freed in `deinit`. nghttp2 keeps an unretained pointer to `self`, which is valid
  /// as long as the session lives because `self` owns the session.
  private var session: OpaquePointer?

  init(owner: any PeerSessionOwner) {
    self.owner = owner
    var callbacks: OpaquePointer?
    nghttp2_session_callbacks_new(&callbacks)
    defer { nghttp2_session_callbacks_del(callbacks) }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, onBeginHeaders)
    nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader)
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onData)
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrame)
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onStreamClose)
    var options: OpaquePointer?
    nghttp2_option_new(&options)
    defer { nghttp2_option_del(options) }
    // Like etcd, the peer accepts any number of streams that are opened and reset.
    nghttp2_option_set_stream_reset_rate_limit(options, 1_000_000, 1_000_000)
    let context = Unmanaged.passUnretained(self).toOpaque()
    let created = nghttp2_session_server_new2(&session, callbacks, context, options)
    precondition(created == 0, "nghttp2_session_server_new2: out of memory")
  }

  deinit { nghttp2_session_del(session) }

  /// Whether the session still expects anything to be read or written.
  var wantsMore: Bool { nghttp2_session_want_read(session) != 0 || nghttp2_session_want_write(session) != 0 }

  /// - Returns: whether the session continues; not after a fatal violation of the protocol.
  func receive(_ bytes: ArraySlice<UInt8>) -> Bool {
    bytes.withUnsafeBufferPointer { nghttp2_session_mem_recv(session, $0.baseAddress, $0.count) >= 0 }
  }

  /// Passes the next bytes to send to `body`.
  /// - Returns: whether there were any.
  func takeOutput(_ body: (UnsafeBufferPointer<UInt8>) -> Void) -> Bool {
    var bytes: UnsafePointer<UInt8>?
    let count = nghttp2_session_mem_send(session, &bytes)
    guard count > 0 else { return false }
    body(UnsafeBufferPointer(start: bytes, count: count))
    return true
  }
}

// MARK: - Submitting frames

extension PeerSession {
  func submitSettings(_ settings: ScriptedPeer.Settings) {
    var entries: [nghttp2_settings_entry] = []
    if let limit = settings.maxConcurrentStreams {
      entries.append(.init(settings_id: Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue), value: limit))
    }
    if let size = settings.initialWindowSize {
      entries.append(.init(settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: size))
    }
    nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), entries, entries.count)
  }

  func submitStreamLimit(_ limit: UInt32) {
    let id = Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue)
    var entry = nghttp2_settings_entry(settings_id: id, value: limit)
    nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), &entry, 1)
  }

  func submitHeaders(_ headers: [ScriptedPeer.Header], stream: Int32, endStream: Bool) {
    var text = headers.flatMap { Array($0.name.utf8) + Array($0.value.utf8) }
    text.withUnsafeMutableBufferPointer { text in
      var offset = 0
      // nghttp2 copies names and values during the call; without NO_COPY flags it keeps no pointer.
      let fields = headers.map { header in
        let name = text.baseAddress.map { $0 + offset }
        let value = name.map { $0 + header.name.utf8.count }
        offset += header.name.utf8.count + header.value.utf8.count
        return nghttp2_nv(
          name: name, value: value, namelen: header.name.utf8.count, valuelen: header.value.utf8.count,
          flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue))
      }
      nghttp2_submit_headers(session, flags(endStream: endStream), stream, nil, fields, fields.count, nil)
    }
  }

  /// Sends the bytes from the owner's `data(for:into:)`.
  func submitData(stream: Int32, endStream: Bool) {
    var provider = nghttp2_data_provider()
    provider.read_callback = readData
    nghttp2_submit_data(session, flags(endStream: endStream), stream, &provider)
  }

  func submitReset(stream: Int32, code: UInt32) {
    nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code)
  }

  func submitGoAway(lastStream: Int32, code: UInt32) {
    if lastStream == .max && code == HTTP2Error.noError {
      // Streams that are on their way are still accepted, as the announcement says: after any other GOAWAY nghttp2
      // ignores them.
      nghttp2_submit_shutdown_notice(session)
    } else {
      nghttp2_submit_goaway(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), lastStream, code, nil, 0)
    }
  }

  func submitPing(_ payload: UInt64) {
    withUnsafeBytes(of: payload) { bytes in
      let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
      _ = nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), start)
    }
  }

  private func flags(endStream: Bool) -> UInt8 {
    UInt8(endStream ? NGHTTP2_FLAG_END_STREAM.rawValue : NGHTTP2_FLAG_NONE.rawValue)
  }
}

// MARK: - nghttp2's callbacks

private func session(_ context: UnsafeMutableRawPointer?) -> PeerSession {
  Unmanaged<PeerSession>.fromOpaque(context!).takeUnretainedValue()
}

private func onBeginHeaders(
  _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, context: UnsafeMutableRawPointer?
) -> Int32 {
  if let frame, frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST {
    session(context).owner.streamBegan(frame.pointee.hd.stream_id)
  }
  return 0
}

private func onHeader(
  _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, name: UnsafePointer<UInt8>?, nameLength: Int,
  value: UnsafePointer<UInt8>?, valueLength: Int, _: UInt8, context: UnsafeMutableRawPointer?
) -> Int32 {
  guard let frame else { return 0 }
  let header = ScriptedPeer.Header(
    String(decoding: UnsafeBufferPointer(start: name, count: nameLength), as: UTF8.self),
    String(decoding: UnsafeBufferPointer(start: value, count: valueLength), as: UTF8.self))
  session(context).owner.received(header: header, stream: frame.pointee.hd.stream_id)
  return 0
}

private func onData(
  _: OpaquePointer?, _: UInt8, stream: Int32, data: UnsafePointer<UInt8>?, length: Int,
  context: UnsafeMutableRawPointer?
) -> Int32 {
  session(context).owner.received(data: UnsafeBufferPointer(start: data, count: length), stream: stream)
  return 0
}

private func onFrame(
  _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, context: UnsafeMutableRawPointer?
) -> Int32 {
  if let frame, let event = PeerSession.Frame(frame.pointee) { session(context).owner.received(frame: event) }
  return 0
}

private func onStreamClose(
  _: OpaquePointer?, stream: Int32, _: UInt32, context: UnsafeMutableRawPointer?
) -> Int32 {
  session(context).owner.streamClosed(stream)
  return 0
}

private func readData(
  _: OpaquePointer?, stream: Int32, buffer: UnsafeMutablePointer<UInt8>?, length: Int,
  flags: UnsafeMutablePointer<UInt32>?, _: UnsafeMutablePointer<nghttp2_data_source>?,
  context: UnsafeMutableRawPointer?
) -> Int {
  let target = UnsafeMutableBufferPointer(start: buffer, count: length)
  guard let (count, isLast) = session(context).owner.data(for: stream, into: target) else {
    return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
  }
  if isLast { flags?.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue }
  return count
}

extension PeerSession.Frame {
  fileprivate init?(_ frame: nghttp2_frame) {
    let stream = frame.hd.stream_id
    switch nghttp2_frame_type(UInt32(frame.hd.type)) {
    case NGHTTP2_DATA, NGHTTP2_HEADERS:
      self = .part(stream: stream, isLast: UInt32(frame.hd.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0)
    case NGHTTP2_RST_STREAM:
      self = .reset(stream: stream, code: frame.rst_stream.error_code)
    case NGHTTP2_SETTINGS where UInt32(frame.hd.flags) & NGHTTP2_FLAG_ACK.rawValue == 0:
      let entries = UnsafeBufferPointer(start: frame.settings.iv, count: frame.settings.niv)
      self = .settings(entries.map { ($0.settings_id, $0.value) })
    case NGHTTP2_PING where UInt32(frame.hd.flags) & NGHTTP2_FLAG_ACK.rawValue == 0:
      self = .ping
    case NGHTTP2_PING:
      self = .pong(withUnsafeBytes(of: frame.ping.opaque_data) { $0.load(as: UInt64.self) })
    case NGHTTP2_GOAWAY:
      self = .goAway(code: frame.goaway.error_code)
    case NGHTTP2_WINDOW_UPDATE where stream == 0:
      self = .window(increment: Int(frame.window_update.window_size_increment))
    default:
      return nil
    }
  }
}
