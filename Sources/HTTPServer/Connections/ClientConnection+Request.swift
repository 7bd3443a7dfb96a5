internal import CMicrohttpd
import EventLoop
import Glibc

/// The request under way on libmicrohttpd's connection, and its answer.
extension ClientConnection: RequestConnection {
  var hasTLS: Bool { termination != nil }
  var isTakenOver: Bool { takeover != nil }

  func readFields(into head: inout RequestHead) {
    withUnsafeMutablePointer(to: &head) { head in
      _ = MHD_get_connection_values_n(
        connection, .HEADER_KIND,
        { head, _, name, nameSize, value, valueSize in
          head!.assumingMemoryBound(to: RequestHead.self).pointee
            .take(HeadBytes(name, nameSize), HeadBytes(value, valueSize))
          return .YES
        }, head)
    }
  }

  var fields: [(name: HeadBytes, value: HeadBytes)] {
    var fields: [(name: HeadBytes, value: HeadBytes)] = []
    withUnsafeMutablePointer(to: &fields) { fields in
      _ = MHD_get_connection_values_n(
        connection, .HEADER_KIND,
        { fields, _, name, nameSize, value, valueSize in
          fields!.assumingMemoryBound(to: [(name: HeadBytes, value: HeadBytes)].self).pointee
            .append((HeadBytes(name, nameSize), HeadBytes(value, valueSize)))
          return .YES
        }, fields)
    }
    return fields
  }

  // MARK: - Suspension

  /// Suspends the connection so that libmicrohttpd processes it before it reads again. A client may send nothing after
  /// its request, and close its sending side. When libmicrohttpd resumes a connection, it reads first, and takes that
  /// close for a disconnect (MHD_connection_handle_read still has the state from before the suspension).
  func suspendRequest() {
    guard let connection else { return }
    if !isProcessedInEachRun {
      server.attend(connection)
      isProcessedInEachRun = true
    }
    MHD_suspend_connection(connection)
  }

  func suspendAnswer() {
    if let connection { MHD_suspend_connection(connection) }
  }

  func resume() {
    if let connection { server.resume(connection) }
  }

  // MARK: - The answer

  func send(_ answer: consuming Answer) -> Bool {
    guard let connection, let exchange else { return false }
    if isProcessedInEachRun {
      isProcessedInEachRun = false
      server.neglect(connection)
    }
    let (status, contentType, headers) = (answer.status, answer.contentType, answer.headers)
    let response = response(with: answer.takeBody(), to: exchange)
    if let contentType { MHD_add_response_header(response, "Content-Type", contentType.cString) }
    exchange.fields(of: status, headers) { name, value in
      // A `String` that is passed to C directly would be copied to the heap.
      _ = value.withCString { MHD_add_response_header(response, name.cString, $0) }
    }
    defer { MHD_destroy_response(response) }
    return MHD_queue_response(connection, status, response) == .YES
  }

  private func response(with body: consuming Answer.Body, to exchange: Exchange) -> OpaquePointer? {
    switch consume body {
    case .own(let bytes):
      let bytes = bytes.release()
      return MHD_create_response_from_buffer(bytes.count, bytes.baseAddress, .RESPMEM_MUST_FREE)
    case .constant(let bytes):
      return MHD_create_response_from_buffer(
        bytes.count, UnsafeMutableRawPointer(mutating: bytes.baseAddress), .RESPMEM_PERSISTENT)
    case .shared(let body):
      return MHD_create_response_from_buffer_with_free_callback_cls(
        body.bytes.count, UnsafeMutableRawPointer(mutating: body.bytes.baseAddress),
        { Unmanaged<SharedBody>.fromOpaque($0!).release() }, Unmanaged.passRetained(body).toOpaque())
    case .streamed(let length):
      let response = MHD_create_response_from_callback(
        length ?? .max, 65_536, readAnswer, Unmanaged.passUnretained(self).toOpaque(), nil)  // MHD_SIZE_UNKNOWN
      // libmicrohttpd 0.9.75 ends the body even for a HEAD, by a last chunk, which then belongs to the next answer.
      if length == nil && exchange.head.method == .head { without_chunks(response) }
      return response
    case .upgrade:
      return MHD_create_response_for_upgrade(socketUpgraded, nil)
    }
  }

  func sendAtOnce(_ bytes: UnsafeRawBufferPointer) -> Int {
    Glibc.send(descriptor, bytes.baseAddress, bytes.count, SocketConstants.noSignal | SocketConstants.dontWait)
  }

  func breakOff() { termination?.breakOff() }

  /// Copies the next bytes of a streamed answer (`MHD_ContentReaderCallback`).
  fileprivate func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    switch exchange?.read(into: buffer) ?? .broken {
    case .bytes(let count): return count
    case .notYet: return 0
    case .end:
      // Without chunks the end of the body is the end of the connection.
      if let connection, exchange?.head.isHTTP10 == true { server.attendSoon(connection) }
      return -1  // MHD_CONTENT_READER_END_OF_STREAM
    case .broken:
      // If libmicrohttpd closed the connection right here, it would forget it until some timeout (0.9.75 and 1.0.1).
      if let connection { server.attendSoon(connection) }
      return -2  // MHD_CONTENT_READER_END_WITH_ERROR
    }
  }

  /// The 101 was sent: the socket gets its new owner.
  fileprivate func upgraded(_ received: UnsafeRawBufferPointer, _ handle: OpaquePointer) {
    if let successor = exchange?.takeSuccessor() {
      takeover = Takeover(successor, of: self, received: Array(received))
    }
    _ = close_upgraded(handle)
    server.needsRunSoon()
  }
}

// MARK: - Callbacks: recover the object, call one method

/// `MHD_ContentReaderCallback`. Its context is the ``ClientConnection``.
private let readAnswer: @convention(c) (UnsafeMutableRawPointer?, UInt64, UnsafeMutablePointer<CChar>?, Int) -> Int = {
  client, _, buffer, capacity in
  Unmanaged<ClientConnection>.fromOpaque(client!).takeUnretainedValue()
    .read(into: UnsafeMutableRawBufferPointer(start: buffer, count: capacity))
}

/// `MHD_UpgradeHandler`. The context of the socket is its ``ClientConnection``.
private let socketUpgraded:
  @convention(c) (
    UnsafeMutableRawPointer?, OpaquePointer?, UnsafeMutableRawPointer?, UnsafePointer<CChar>?, Int, Int32,
    OpaquePointer?
  ) -> Void = { _, connection, _, received, count, _, handle in
    connection_context(connection).withObject(ClientConnection.self) {
      $0.upgraded(UnsafeRawBufferPointer(start: received, count: count), handle!)
    }
  }
