import Foundation
package import TLS

/// One connection to an HTTP/1.1 server, over TCP, TLS or a Unix socket, driven by hand: any bytes out, responses in.
///
/// Every call has a deadline. One task may send while another receives.
package actor HTTPConnection {
  private var descriptor: Int32
  private var session: TLSSession?
  private var inbox: [UInt8] = []
  /// How much of the inbox has been consumed.
  private var position = 0
  private var bodyFraming = BodyFraming.none
  private let authority: String

  /// The end of the body of the response under way (RFC 9112, section 6.3).
  private enum BodyFraming {
    case none
    case length(Int)
    case chunked
    case untilClose
  }

  private init(descriptor: Int32, authority: String) {
    self.descriptor = descriptor
    self.authority = authority
  }

  /// The TLS context for connections to `https://` unless another one is given, for all clients.
  @TaskLocal package static var tls: TLSContext?

  deinit {
    if descriptor >= 0 { Glibc.close(descriptor) }
  }

  /// Connects to `http://HOST:PORT`, `https://HOST:PORT` or `unix:///PATH`.
  /// - Parameters:
  ///   - tls: the TLS context; by default that of the task.
  ///   - network: the client's network; nil for the network of this process.
  /// - Throws: `TLSError` if the handshake fails.
  package static func connect(
    to url: String, tls: TLSContext? = nil, in network: NetworkNamespace? = nil, timeout: Duration = suiteLimit
  ) async throws -> HTTPConnection {
    if url.hasPrefix("unix://") {
      let descriptor = try openSocket(path: String(url.dropFirst("unix://".count)))
      return HTTPConnection(descriptor: descriptor, authority: "localhost")
    }
    guard let parts = URL(string: url), let host = parts.host, let port = parts.port else {
      throw TestSupportError("\(url) is not http://HOST:PORT")
    }
    let descriptor =
      if let network {
        // A socket belongs for good to the namespace of the thread that opened it.
        try await network.inside { try openSocket(host: host, port: port) }
      } else {
        try openSocket(host: host, port: port)
      }
    let connection = HTTPConnection(
      descriptor: descriptor, authority: host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)")
    try await connection.finishConnecting(.now + timeout)
    if parts.scheme == "https" {
      guard let context = tls ?? Self.tls else { throw TestSupportError("\(url) needs a TLS context") }
      try await connection.shakeHands(context, serverName: host, .now + timeout)
    }
    return connection
  }

  private func finishConnecting(_ deadline: ContinuousClock.Instant) async throws {
    try await wait(for: .writable, deadline)
    var error: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size)
    if error != 0 { throw failure(error) }
  }

  private func shakeHands(
    _ context: TLSContext, serverName: String, _ deadline: ContinuousClock.Instant
  ) async throws {
    let name = serverName.trimmingCharacters(in: ["[", "]"])
    let session = TLSSession(client: context, descriptor: descriptor, serverName: name, peer: "")
    while true {
      switch session.handshake() {
      case .done:
        self.session = session
        return
      case .wantsReadable: try await wait(for: .readable, deadline)
      case .wantsWritable: try await wait(for: .writable, deadline)
      case .failed(let error): throw error
      }
    }
  }

  /// The version of TLS, and whether an earlier session was resumed; nil if there is no TLS.
  package var tlsState: (version: String, isResumed: Bool, negotiatedProtocol: String?)? {
    session.map { ($0.version, $0.isResumed, $0.negotiatedProtocol) }
  }

  // MARK: Bytes

  /// Sends bytes unchanged.
  package func send(_ bytes: [UInt8], timeout: Duration = suiteLimit) async throws {
    let deadline = ContinuousClock.now + timeout
    var sent = 0
    while sent < bytes.count {
      guard descriptor >= 0 else { throw HTTPFailure.closedHere }
      if let session {
        switch bytes[sent...].withUnsafeBytes({ session.write($0) }) {
        case .bytes(let count): sent += count
        case .wantsReadable: try await wait(for: .readable, deadline)
        case .wantsWritable: try await wait(for: .writable, deadline)
        case .closed: throw HTTPFailure.closed
        case .failed(let error): throw HTTPFailure(error)
        }
        continue
      }
      let count = bytes.withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL))
      }
      if count >= 0 {
        sent += count
      } else if errno == EAGAIN {
        try await wait(for: .writable, deadline)
      } else if errno != EINTR {
        throw failure(errno)
      }
    }
  }

  /// Sends text unchanged, with the caller's line ends.
  package func send(_ text: String, timeout: Duration = suiteLimit) async throws {
    try await send(Array(text.utf8), timeout: timeout)
  }

  /// Exactly so many bytes.
  /// - Throws: `HTTPFailure.closed` if the connection ends before.
  package func receive(exactly count: Int, timeout: Duration = suiteLimit) async throws -> [UInt8] {
    let deadline = ContinuousClock.now + timeout
    while inbox.count - position < count {
      if try await !fill(deadline) { throw HTTPFailure.closed }
    }
    return take(count)
  }

  /// Everything up to the end of the connection.
  package func receiveToEnd(timeout: Duration = suiteLimit) async throws -> [UInt8] {
    let deadline = ContinuousClock.now + timeout
    while try await fill(deadline) {}
    return take(inbox.count - position)
  }

  /// Returns when the peer has closed (or reset) the connection and everything that it sent has been taken.
  /// - Throws: `HTTPFailure.timedOut` if it stays open, `malformed` if bytes come instead.
  package func receiveClose(timeout: Duration = suiteLimit) async throws {
    do {
      let rest = try await receiveToEnd(timeout: timeout)
      guard rest.isEmpty else { throw HTTPFailure.malformed("more: \(String(decoding: rest, as: UTF8.self))") }
    } catch HTTPFailure.reset {}
  }

  /// Ends the sending side: over TLS by close_notify alone, otherwise by FIN (shutdown(2), `SHUT_WR`).
  package func finishSending() {
    if let session { _ = session.close() } else { finishConnection() }
  }

  /// Sends FIN, over TLS without close_notify.
  package func finishConnection() {
    if descriptor >= 0 { shutdown(descriptor, Int32(SHUT_WR)) }
  }

  /// Closes the connection with FIN, over TLS with close_notify before.
  package func close() {
    guard descriptor >= 0 else { return }
    _ = session?.close()
    closeDescriptor()
  }

  private func closeDescriptor() {
    let closing = descriptor
    descriptor = -1
    SocketPoller.shared.cancel(closing)
    Glibc.close(closing)
  }

  /// Closes the connection with RST (socket(7), `SO_LINGER` of zero).
  package func reset() {
    guard descriptor >= 0 else { return }
    var linger = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
    closeDescriptor()
  }

  /// Whether the peer has reset the connection, though there may be more to read.
  package var isReset: Bool {
    var state = pollfd(fd: descriptor, events: 0, revents: 0)
    return poll(&state, 1, 0) > 0 && Int32(state.revents) & (POLLERR | POLLHUP) != 0
  }

  /// Limits the kernel's receive buffer, so that a client that does not read is soon noticed. A client that continues
  /// to read raises it first: through a small one little flows.
  package func setReceiveBuffer(bytes: Int32) {
    var size = bytes
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
  }

  // MARK: Requests and responses

  /// Sends one request and receives its response.
  /// - Parameter body: sent with its `Content-Length` unless nil.
  package func request(
    _ method: String, _ path: String, headers: [(String, String)] = [], body: [UInt8]? = nil,
    timeout: Duration = suiteLimit
  ) async throws -> HTTPResponse {
    try await sendRequest(method, path, headers: headers, body: body, timeout: timeout)
    return try await receive(toHead: method == "HEAD", timeout: timeout)
  }

  /// Sends one request and does not wait for its response.
  /// - Parameters:
  ///   - body: sent with its `Content-Length` unless nil.
  ///   - version: the version of HTTP.
  package func sendRequest(
    _ method: String, _ path: String, headers: [(String, String)] = [], body: [UInt8]? = nil,
    version: String = "1.1", timeout: Duration = suiteLimit
  ) async throws {
    var head = "\(method) \(path) HTTP/\(version)\r\nHost: \(authority)\r\n"
    for (name, value) in headers { head += "\(name): \(value)\r\n" }
    if let body { head += "Content-Length: \(body.count)\r\n" }
    try await send(Array((head + "\r\n").utf8) + (body ?? []), timeout: timeout)
  }

  /// Receives one whole response; interim ones (1xx) are skipped.
  /// - Parameter toHead: whether the request was a HEAD, so that no body follows.
  package func receive(toHead: Bool = false, timeout: Duration = suiteLimit) async throws -> HTTPResponse {
    let deadline = ContinuousClock.now + timeout
    var head = try await receiveHead(toHead: toHead, deadline)
    while (100..<200).contains(head.status) { head = try await receiveHead(toHead: toHead, deadline) }
    var body: [UInt8] = []
    while let part = try await receivePart(deadline) { body += part }
    return HTTPResponse(head: head, body: body)
  }

  /// Receives the head of a response, interim ones too; its body follows by `receivePart`.
  package func receiveHead(toHead: Bool = false, timeout: Duration = suiteLimit) async throws -> HTTPHead {
    try await receiveHead(toHead: toHead, .now + timeout)
  }

  /// Receives the next part of the body; nil at its proper end.
  ///
  /// A part is one chunk of a chunked body, otherwise all bytes that have come.
  /// - Throws: `HTTPFailure.closed` or `.reset` for a body that was cut.
  package func receivePart(timeout: Duration = suiteLimit) async throws -> [UInt8]? {
    try await receivePart(.now + timeout)
  }

  private func receiveHead(toHead: Bool, _ deadline: ContinuousClock.Instant) async throws -> HTTPHead {
    let head = try HTTPHead(parsing: try await takeLine(endingIn: "\r\n\r\n", deadline))
    let hasBody = !toHead && head.status >= 200 && head.status != 204 && head.status != 304
    if !hasBody {
      bodyFraming = .none
    } else if let coding = head["Transfer-Encoding"] {
      guard coding.lowercased() == "chunked" else { throw HTTPFailure.malformed("Transfer-Encoding: \(coding)") }
      bodyFraming = .chunked
    } else if let length = head["Content-Length"] {
      guard let count = Int(length), count >= 0 else { throw HTTPFailure.malformed("Content-Length: \(length)") }
      bodyFraming = .length(count)
    } else {
      bodyFraming = .untilClose
    }
    return head
  }

  private func receivePart(_ deadline: ContinuousClock.Instant) async throws -> [UInt8]? {
    switch bodyFraming {
    case .none, .length(0):
      bodyFraming = .none
      return nil
    case .length(let left):
      if position == inbox.count, try await !fill(deadline) { throw HTTPFailure.closed }
      let part = take(min(left, inbox.count - position))
      bodyFraming = .length(left - part.count)
      return part
    case .untilClose:
      if position == inbox.count, try await !fill(deadline) {
        bodyFraming = .none
        return nil
      }
      return take(inbox.count - position)
    case .chunked:
      let line = try await takeLine(endingIn: "\r\n", deadline)
      guard let size = Int(line.prefix { $0 != ";" }, radix: 16), size >= 0 else {
        throw HTTPFailure.malformed("chunk size \(line)")
      }
      if size == 0 {
        while try await !takeLine(endingIn: "\r\n", deadline).isEmpty {}
        bodyFraming = .none
        return nil
      }
      while inbox.count - position < size + 2 {
        if try await !fill(deadline) { throw HTTPFailure.closed }
      }
      let part = take(size)
      guard take(2) == [13, 10] else { throw HTTPFailure.malformed("no line end after a chunk") }
      return part
    }
  }

  // MARK: The inbox

  /// The text before `end`; both are consumed.
  private func takeLine(endingIn end: String, _ deadline: ContinuousClock.Instant) async throws -> String {
    while true {
      if let found = inbox.firstIndex(of: Array(end.utf8), from: position) {
        let line = String(decoding: take(found - position), as: UTF8.self)
        _ = take(end.utf8.count)
        return line
      }
      if try await !fill(deadline) { throw HTTPFailure.closed }
    }
  }

  private func take(_ count: Int) -> [UInt8] {
    let bytes = Array(inbox[position..<position + count])
    position += count
    if position == inbox.count {
      inbox.removeAll(keepingCapacity: true)
      position = 0
    }
    return bytes
  }

  /// Receives bytes into the inbox; false at the end of the connection.
  private func fill(_ deadline: ContinuousClock.Instant) async throws -> Bool {
    while true {
      guard descriptor >= 0 else { throw HTTPFailure.closedHere }
      // A stream's last part is hardly ever complete, so the inbox would never be empty.
      if position > 1 << 20 {
        inbox.removeFirst(position)
        position = 0
      }
      let space = 64 * 1024
      if let session {
        var outcome = TLSSession.Transfer.closed
        let bytes = [UInt8](unsafeUninitializedCapacity: space) { buffer, initialized in
          outcome = session.read(into: UnsafeMutableRawBufferPointer(buffer))
          if case .bytes(let count) = outcome { initialized = count } else { initialized = 0 }
        }
        switch outcome {
        case .bytes:
          inbox += bytes
          return true
        case .closed: return false
        case .wantsReadable: try await wait(for: .readable, deadline)
        case .wantsWritable: try await wait(for: .writable, deadline)
        case .failed(let error): throw HTTPFailure(error)
        }
        continue
      }
      var count = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: space) { buffer, initialized in
        count = recv(descriptor, buffer.baseAddress, space, 0)
        initialized = max(0, count)
      }
      if count > 0 {
        inbox += bytes
        return true
      }
      if count == 0 { return false }
      if errno == EAGAIN {
        try await wait(for: .readable, deadline)
      } else if errno != EINTR {
        throw failure(errno)
      }
    }
  }

  private func wait(for readiness: SocketPoller.Readiness, _ deadline: ContinuousClock.Instant) async throws {
    let isReady = await SocketPoller.shared.wait(for: readiness, of: descriptor, until: deadline)
    guard isReady else { throw descriptor < 0 ? HTTPFailure.closedHere : HTTPFailure.timedOut }
  }
}

private func failure(_ error: Int32) -> any Error {
  switch error {
  case ECONNREFUSED, ENOENT: HTTPFailure.refused
  case ECONNRESET, EPIPE: HTTPFailure.reset
  default: TestSupportError("socket: \(String(cString: strerror(error)))")
  }
}

/// A non-blocking connection to a Unix socket.
private func openSocket(path: String) throws -> Int32 {
  let descriptor = socket(AF_UNIX, nonBlockingStream, 0)
  guard descriptor >= 0 else { throw TestSupportError(systemCall: "socket") }
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
  let code = withUnsafeBytes(of: address) {
    connect(descriptor, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
  }
  guard code == 0 else {
    let error = errno
    close(descriptor)
    throw failure(error)
  }
  return descriptor
}

/// A non-blocking socket that is connecting.
private func openSocket(host: String, port: Int) throws -> Int32 {
  var hints = addrinfo()
  hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
  var found: UnsafeMutablePointer<addrinfo>?
  let name = host.trimmingCharacters(in: ["[", "]"])
  guard getaddrinfo(name, String(port), &hints, &found) == 0, let info = found else {
    throw TestSupportError("cannot resolve \(host)")
  }
  defer { freeaddrinfo(found) }
  let descriptor = socket(info.pointee.ai_family, nonBlockingStream, 0)
  guard descriptor >= 0 else { throw TestSupportError(systemCall: "socket") }
  var yes: Int32 = 1
  setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
  guard connect(descriptor, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0 || errno == EINPROGRESS else {
    let error = errno
    close(descriptor)
    throw failure(error)
  }
  return descriptor
}
