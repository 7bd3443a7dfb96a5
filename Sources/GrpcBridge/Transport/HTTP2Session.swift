import ByteBuffers
internal import CNghttp2
import EventLoop

/// The client side of an HTTP/2 connection: one `nghttp2_session`, without its socket.
///
/// Follows the nghttp2 API reference. nghttp2 must not be called from its callbacks to receive or send. So the
/// callbacks only report to the ``Connection``, which reads and writes the socket from its loop.
final class HTTP2Session {
  private let raw: OpaquePointer
  /// The connection owns this session and outlives it.
  private unowned(unsafe) let connection: Connection
  private let authority: [UInt8]
  private let scheme: StaticString
  /// Whether a call was sent whose response may end before its requests do.
  private var carriesStreams = false

  /// How many calls await their end.
  private(set) var callCount = 0
  /// How many of them are unary: the peer owes their answers.
  private(set) var unansweredCount = 0

  /// The window of a stream, in bytes: how much of one answer may be under way to the gateway.
  static let streamWindow: Int32 = 1 << 20
  /// The connection's window, in bytes: so large that a stream whose reader is slow does not hold back the others.
  static let connectionWindow: Int32 = 1 << 24
  /// The most headers that a request may have.
  private static let maxHeaders = 16
  /// The version of etcd's API under which etcd's metrics count the gateway's streams, the same as clientv3's.
  private static let apiVersion: StaticString = "3.5"

  /// How large the headers or the trailers of a response may be, in bytes. Beyond the first limit the call ends, beyond
  /// the second one the connection.
  private static let maxHeaderBytes = 1 << 18
  private static let maxBlockBytes = 1 << 22
  /// How many bytes of headers have come since the last whole frame.
  private var blockBytes = 0

  /// The name of HTTP/2 over TLS in ALPN (RFC 9113, section 3.1).
  static let protocolName = "h2"

  init(connection: Connection, authority: String, isSecure: Bool) {
    self.connection = connection
    scheme = isSecure ? "https" : "http"
    self.authority = Array(authority.utf8)
    var callbacks: OpaquePointer?
    var options: OpaquePointer?
    var session: OpaquePointer?
    nghttp2_session_callbacks_new(&callbacks)
    nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader)
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onDataChunk)
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onStreamClose)
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrame)
    nghttp2_option_new(&options)
    // Windows open only as the readers of the answers read.
    nghttp2_option_set_no_auto_window_update(options, 1)
    let code = nghttp2_session_client_new2(&session, callbacks, nil, options)
    nghttp2_option_del(options)
    nghttp2_session_callbacks_del(callbacks)
    guard code == 0, let session else { fatalError("nghttp2_session_client_new2: out of memory") }
    raw = session
    // The session is deleted before this object is released.
    nghttp2_session_set_user_data(raw, Unmanaged.passUnretained(self).toOpaque())
    let settings = [
      nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: UInt32(Self.streamWindow)),
    ]
    nghttp2_submit_settings(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), settings, settings.count)
    nghttp2_session_set_local_window_size(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Self.connectionWindow)
  }

  deinit { nghttp2_session_del(raw) }

  /// Whether the session has nothing more to send or receive, as after a GOAWAY and the end of the last stream.
  var isFinished: Bool { nghttp2_session_want_read(raw) == 0 && nghttp2_session_want_write(raw) == 0 }

  /// Whether the peer has as many calls as it takes at a time (SETTINGS_MAX_CONCURRENT_STREAMS). nghttp2 queues further
  /// ones.
  var isFull: Bool {
    callCount >= Int(nghttp2_session_get_remote_settings(raw, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
  }

  /// Whether calls may be submitted. nghttp2 answers a violation by the peer with a GOAWAY, ignores all that follows,
  /// and returns no error. If neither side has sent a GOAWAY before, this property shows the violation at once.
  var isSound: Bool { nghttp2_session_check_request_allowed(raw) == 1 || hasUsedUpStreams }

  /// Whether all stream numbers are used up (RFC 9113, section 5.1.1).
  private var hasUsedUpStreams: Bool { nghttp2_session_get_next_stream_id(raw) > UInt32(Int32.max) }

  /// The reason that nghttp2 gives the peer for the end of the connection.
  ///
  /// - Parameter frame: one frame that is being sent.
  /// - Returns: nil if the frame is no GOAWAY with a reason (RFC 9113, section 6.8).
  static func reason(ofGoAway frame: UnsafeRawBufferPointer) -> String? {
    guard frame.count > 17, UInt32(frame[3]) == NGHTTP2_GOAWAY.rawValue else { return nil }
    return String(decoding: frame[17...], as: UTF8.self)
  }

  /// Takes bytes of the peer.
  ///
  /// - Throws: ``HTTP2Error`` if the connection cannot continue.
  func receive(_ bytes: UnsafeRawBufferPointer) throws(HTTP2Error) {
    let code = nghttp2_session_mem_recv(raw, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
    if code < 0 { throw HTTP2Error(code: Int32(code)) }
  }

  /// The next bytes for the peer, valid until the next call of this method; nil if there are none.
  ///
  /// - Throws: ``HTTP2Error`` if the connection cannot continue.
  func nextOutput() throws(HTTP2Error) -> UnsafeRawBufferPointer? {
    var data: UnsafePointer<UInt8>?
    let count = nghttp2_session_mem_send(raw, &data)
    if count < 0 { throw HTTP2Error(code: Int32(count)) }
    return count == 0 ? nil : UnsafeRawBufferPointer(start: data, count: count)
  }

  /// Opens a stream for `call`. The caller keeps the call alive until its stream is closed, reset or abandoned.
  ///
  /// - Throws: ``HTTP2Error`` if the connection takes no more streams.
  func submit(_ call: Call) throws(HTTP2Error) {
    var body = nghttp2_data_provider()
    if call.requests == nil { body.read_callback = readMessage } else { body.read_callback = readMessages }
    let context = Unmanaged.passUnretained(call).toOpaque()
    body.source.ptr = context
    let id = call.timeoutText.withUnsafeBufferPointer { timeout in
      authority.withUnsafeBufferPointer { authority in
        withToken(of: call) { token in
          withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: Self.maxHeaders) { headers in
            var count = 0
            func add(_ name: StaticString, _ value: UnsafeBufferPointer<UInt8>, keptBy flags: UInt32) {
              precondition(count < Self.maxHeaders, "too many headers")
              headers.initializeElement(
                at: count,
                to: nghttp2_nv(
                  name: UnsafeMutablePointer(mutating: name.utf8Start),
                  value: UnsafeMutablePointer(mutating: value.baseAddress ?? name.utf8Start),
                  namelen: name.utf8CodeUnitCount, valuelen: value.count, flags: UInt8(flags)))
              count += 1
            }
            func add(_ name: StaticString, _ value: StaticString) {
              add(
                name, UnsafeBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount), keptBy: immortal)
            }
            add(":method", "POST")
            add(":scheme", scheme)
            add(":path", call.method.path, keptBy: immortal)
            add(":authority", authority, keptBy: immortalName)
            add("te", "trailers")
            add("content-type", "application/grpc")
            add("user-agent", "etcd-rest")
            // With this header etcd never takes the common name of the gateway's client certificate for the user.
            add("grpcgateway-accept", "application/json")
            if call.method.isStream { add("client-api-version", Self.apiVersion) }
            if call.requiresLeader { add("hasleader", "true") }
            if !timeout.isEmpty { add("grpc-timeout", timeout, keptBy: immortalName) }
            if let token { add("token", token, keptBy: immortalName) }
            // A stream that carries the requests of many clients belongs to no client's trace.
            guard let trace = call.caller.trace, !call.method.isShared, let traceContext = trace.context else {
              return nghttp2_submit_request(raw, nil, headers.baseAddress, count, &body, context)
            }
            trace.sends(call)
            return traceContext.withParent(call.span) { parent in
              traceContext.state.withUnsafeBufferPointer { state in
                add("traceparent", parent, keptBy: immortalName)
                if !state.isEmpty { add("tracestate", state, keptBy: immortalName) }
                return nghttp2_submit_request(raw, nil, headers.baseAddress, count, &body, context)
              }
            }
          }
        }
      }
    }
    if id < 0 { throw HTTP2Error(code: id) }
    if call.method.isStream { carriesStreams = true }
    call.stream = CallStream(of: call.method)
    call.stream.id = id
    call.stream.connection = connection
    callCount += 1
    if !call.method.isStream { unansweredCount += 1 }
  }

  /// Resets a call's stream and forgets the call.
  func reset(_ call: Call, code: UInt32 = NGHTTP2_CANCEL.rawValue) {
    forget(call)
    connection.cancels()
    nghttp2_submit_rst_stream(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), call.stream.id, code)
  }

  /// A stream that has waited for further requests has them. Not to be called from within a callback.
  func resumeSending(onStream id: Int32) { nghttp2_session_resume_data(raw, id) }

  /// Whether the end of a stream's requests was sent.
  private func hasSentEnd(onStream id: Int32) -> Bool { nghttp2_session_get_stream_local_close(raw, id) == 1 }

  /// Sends a GOAWAY: the gateway opens no more streams (RFC 9113, section 6.8).
  func sayGoodbye() {
    nghttp2_submit_goaway(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, NGHTTP2_NO_ERROR.rawValue, nil, 0)
  }

  /// Sends a PING (RFC 9113, section 6.7).
  func ping() { nghttp2_submit_ping(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil) }

  private func forget(_ call: Call) {
    nghttp2_session_set_stream_user_data(raw, call.stream.id, nil)
    call.stream.connection = nil
    callCount -= 1
    if !call.method.isStream { unansweredCount -= 1 }
  }

  /// The call of a stream; nil after the call was reset.
  private func call(ofStream id: Int32) -> Call? {
    nghttp2_session_get_stream_user_data(raw, id).map { Unmanaged<Call>.fromOpaque($0).takeUnretainedValue() }
  }

  /// Gives `count` received bytes back to the window of a stream.
  func consume(_ count: Int, ofStream id: Int32) { nghttp2_session_consume_stream(raw, id, count) }

  private func consumeForConnection(_ count: Int) { nghttp2_session_consume_connection(raw, count) }
}

/// An error of the nghttp2 library.
struct HTTP2Error: Error, CustomStringConvertible {
  let code: Int32
  var description: String { String(cString: nghttp2_strerror(code)) }
}

private let immortalName = NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue
private let immortal = NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue

private func withToken<Result>(of call: Call, _ body: (UnsafeBufferPointer<UInt8>?) -> Result) -> Result {
  guard let token = call.token, !token.isEmpty else { return body(nil) }
  return token.bytes.withUnsafeBufferPointer { body($0) }
}

// MARK: - Callbacks: recover the object, call one method

private func readMessage(
  _: OpaquePointer?, _ id: Int32, _ buffer: UnsafeMutablePointer<UInt8>?, _ capacity: Int,
  _ flags: UnsafeMutablePointer<UInt32>?, _ source: UnsafeMutablePointer<nghttp2_data_source>?,
  _: UnsafeMutableRawPointer?
) -> Int {
  source!.pointee.ptr.withObject(Call.self) { call in
    let frame = call.message.frame
    let count = min(capacity, frame.count - call.stream.bytesTaken)
    buffer!.update(
      from: frame.baseAddress!.advanced(by: call.stream.bytesTaken).assumingMemoryBound(to: UInt8.self), count: count)
    call.stream.bytesTaken += count
    call.stream.connection?.carries(count)
    if call.stream.bytesTaken == frame.count { flags!.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue }
    return count
  }
}

private func readMessages(
  _: OpaquePointer?, _ id: Int32, _ buffer: UnsafeMutablePointer<UInt8>?, _ capacity: Int,
  _ flags: UnsafeMutablePointer<UInt32>?, _ source: UnsafeMutablePointer<nghttp2_data_source>?,
  _: UnsafeMutableRawPointer?
) -> Int {
  let call = Unmanaged<Call>.fromOpaque(source!.pointee.ptr).takeUnretainedValue()
  let requests = call.requests!
  let count = requests.read(
    into: UnsafeMutableRawBufferPointer(start: buffer, count: capacity), from: call.stream.bytesTaken)
  call.stream.bytesTaken += count
  call.stream.connection?.carries(count)
  let isAtEnd = requests.count(from: call.stream.bytesTaken) == 0
  if call.hasReceivedMessage { requests.release(upTo: call.stream.bytesTaken) }
  if isAtEnd && requests.isFinished {
    flags!.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
  } else if count == 0 {
    call.stream.isDeferred = true
    return Int(NGHTTP2_ERR_DEFERRED.rawValue)
  }
  return count
}

private func onHeader(
  _: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ name: UnsafePointer<UInt8>?, _ nameLength: Int,
  _ value: UnsafePointer<UInt8>?, _ valueLength: Int, _: UInt8, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  context!.withObject(HTTP2Session.self) { session in
    session.received(
      header: UnsafeBufferPointer(start: name, count: nameLength),
      value: UnsafeBufferPointer(start: value, count: valueLength), onStream: frame!.pointee.hd.stream_id)
  }
}

private func onDataChunk(
  _: OpaquePointer?, _: UInt8, _ id: Int32, _ data: UnsafePointer<UInt8>?, _ length: Int,
  _ context: UnsafeMutableRawPointer?
) -> Int32 {
  context!.withObject(HTTP2Session.self) {
    $0.received(data: UnsafeRawBufferPointer(start: data, count: length), onStream: id)
  }
  return 0
}

private func onStreamClose(
  _: OpaquePointer?, _ id: Int32, _ code: UInt32, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  context!.withObject(HTTP2Session.self) { $0.streamClosed(id, code: code) }
  return 0
}

private func onFrame(
  _: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  context!.withObject(HTTP2Session.self) { $0.received(frame: frame!.pointee.hd) }
  return 0
}

/// What the peer sends. The connection, and with it the session, lives as long as it reads. But a delegate may let go
/// of its call at any time: each method keeps the call until it returns.
extension HTTP2Session {
  /// - Returns: a code of nghttp2's, which ends the connection unless it is 0.
  fileprivate func received(
    header name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>, onStream id: Int32
  ) -> Int32 {
    blockBytes += name.count + value.count
    // Headers without an end would block all other streams.
    guard blockBytes <= Self.maxBlockBytes else { return NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }
    guard blockBytes <= Self.maxHeaderBytes else {
      if let call = call(ofStream: id) {
        connection.refuse(call, "more than \(Self.maxHeaderBytes) bytes of headers")
      }
      return 0
    }
    // No delegate is notified here.
    nghttp2_session_get_stream_user_data(raw, id)?.withObject(Call.self) {
      $0.stream.take(header: name, value: value)
    }
    return 0
  }

  fileprivate func received(data: UnsafeRawBufferPointer, onStream id: Int32) {
    consumeForConnection(data.count)
    if let call = call(ofStream: id) { connection.received(data, for: call) }
  }

  fileprivate func streamClosed(_ id: Int32, code: UInt32) {
    guard let call = call(ofStream: id) else { return }
    forget(call)
    connection.streamClosed(of: call, code: code)
  }

  fileprivate func received(frame: nghttp2_frame_hd) {
    blockBytes = 0
    let endsStream = UInt32(frame.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0
    if carriesStreams, endsStream,
      frame.type == NGHTTP2_HEADERS.rawValue || frame.type == NGHTTP2_DATA.rawValue,
      let call = call(ofStream: frame.stream_id), !hasSentEnd(onStream: frame.stream_id)
    {
      // The response is whole, but further requests might follow. As no server would read them, the stream is closed
      // (RFC 9113, section 8.1). nghttp2 itself would wait for the end of the requests.
      reset(call, code: NGHTTP2_NO_ERROR.rawValue)
      return connection.streamClosed(of: call, code: NGHTTP2_NO_ERROR.rawValue)
    }
    if frame.type == NGHTTP2_HEADERS.rawValue, !endsStream, let call = call(ofStream: frame.stream_id),
      call.stream.isKnownForeign
    {
      // The HTTP status is enough for the call's status. The body may be long, or endless.
      reset(call)
      return connection.streamClosed(of: call, code: NGHTTP2_CANCEL.rawValue)
    }
    switch UInt32(frame.type) {
    case NGHTTP2_SETTINGS.rawValue where UInt32(frame.flags) & NGHTTP2_FLAG_ACK.rawValue == 0:
      connection.receivedSettings()
    case NGHTTP2_GOAWAY.rawValue:
      connection.receivedGoAway()
    default:
      break
    }
  }
}
