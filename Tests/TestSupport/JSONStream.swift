/// The response to a stream's request over HTTP/1.1: lines of JSON, as the gateway inside etcd sends them.
///
/// It is strict: a message has to be one line, and the line one chunk of its own (RFC 9112, section 7.1). The gateway
/// inside etcd spreads lines of more than about 2 KB over several chunks; that has to be allowed.
package actor JSONStream {
  /// For closing, resetting or half-closing, and for its socket options.
  package nonisolated let connection: HTTPConnection
  private var receivedHead: HTTPHead?
  /// Empty lines that have come so far.
  package private(set) var heartbeats = 0

  private let joinsChunks: Bool

  private init(_ connection: HTTPConnection, joinsChunks: Bool) {
    self.connection = connection
    self.joinsChunks = joinsChunks
  }

  /// Connects and posts a stream's request; the response is for the calls below.
  /// - Parameters:
  ///   - body: the requests, one after another.
  ///   - user: `NAME:PASSWORD` for `Authorization: Basic`.
  ///   - network: the client's network; nil for the network of this process.
  ///   - receiveBuffer: the size of the kernel's buffer in bytes, so that a client that does not read is soon noticed.
  ///   - joinsChunks: whether several chunks may make a line, as those of the gateway inside etcd do.
  package static func open(
    _ url: String, _ path: String, _ body: String, user: String? = nil, headers: [(String, String)] = [],
    in network: NetworkNamespace? = nil, receiveBuffer: Int32? = nil, joinsChunks: Bool = false
  ) async throws -> JSONStream {
    let connection = try await HTTPConnection.connect(to: url, in: network)
    if let receiveBuffer { await connection.setReceiveBuffer(bytes: receiveBuffer) }
    try await connection.sendRequest("POST", path, headers: headers + basic(user), body: Array(body.utf8))
    return JSONStream(connection, joinsChunks: joinsChunks)
  }

  /// The head of the response, once it has come: with the first message, as a rule.
  package func head(timeout: Duration = suiteLimit) async throws -> HTTPHead {
    if let receivedHead { return receivedHead }
    let head = try await connection.receiveHead(timeout: timeout)
    receivedHead = head
    return head
  }

  /// The next line, with its line feed and any content; nil at the proper end of the response.
  /// - Throws: `HTTPFailure.closed` or `.reset` for a response that was cut, `.malformed` if a chunk is not one line.
  package func nextLine(timeout: Duration = suiteLimit) async throws -> [UInt8]? {
    let head = try await head(timeout: timeout)
    guard head.status == 200 else {
      throw HTTPFailure.malformed("\(try await response(timeout: timeout)) is no stream")
    }
    guard var chunk = try await connection.receivePart(timeout: timeout) else { return nil }
    while joinsChunks, chunk.last != UInt8(ascii: "\n") {
      guard let more = try await connection.receivePart(timeout: timeout) else { break }
      chunk += more
    }
    guard chunk.firstIndex(of: [UInt8(ascii: "\n")]) == chunk.count - 1 else {
      throw HTTPFailure.malformed("a chunk is not one line: \(String(decoding: chunk.prefix(200), as: UTF8.self))")
    }
    return chunk
  }

  /// The next message, `{"result":…}` or `{"error":…}`, after any heartbeats; nil at the proper end of the response.
  /// - Throws: as `nextLine`; `HTTPFailure.timedOut` if only heartbeats come.
  package func nextMessage(timeout: Duration = suiteLimit) async throws -> JSON? {
    let deadline = ContinuousClock.now + timeout
    while let line = try await nextLine(timeout: deadline - .now) {
      if line.count > 1 { return try JSON(parsing: line) }
      heartbeats += 1
    }
    return nil
  }

  /// The next result; nil at the proper end of the response.
  /// - Throws: as `nextMessage`; `TestSupportError` for an error.
  package func next(timeout: Duration = suiteLimit) async throws -> JSON? {
    guard let message = try await nextMessage(timeout: timeout) else { return nil }
    guard let result = message["result"] else { throw TestSupportError("\(message) is no result") }
    return result
  }

  /// The whole response, for one that is expected to end by itself: an error, say.
  package func response(timeout: Duration = suiteLimit) async throws -> HTTPResponse {
    let head = try await head(timeout: timeout)
    var body: [UInt8] = []
    while let part = try await connection.receivePart(timeout: timeout) { body += part }
    return HTTPResponse(head: head, body: body)
  }

  /// Disconnects with FIN.
  package func close() async {
    await connection.close()
  }

  /// Disconnects with RST.
  package func reset() async {
    await connection.reset()
  }
}
