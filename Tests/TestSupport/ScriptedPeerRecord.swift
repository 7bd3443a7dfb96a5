extension ScriptedPeer {
  /// One header field, in the order and spelling of the wire.
  package struct Header: Sendable, Equatable, CustomStringConvertible {
    package let name: String
    package let value: String

    package init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }

    package var description: String { "\(name): \(value)" }
  }

  /// What a client did, from the peer's point of view.
  package struct Record: Sendable {
    /// In the order in which they were accepted; a connection's number is its index.
    package var connections: [Connection] = []
    /// The streams of all connections in the order their headers arrived.
    package var streams: [Stream] = []

    /// The streams of one `:path`, in order.
    package func streams(of path: String) -> [Stream] { streams.filter { $0.path == path } }
    /// The streams of one connection, in order.
    package func streams(on connection: Int) -> [Stream] { connections[connection].streams.map { streams[$0] } }
  }

  package struct Connection: Sendable {
    package let opened: ContinuousClock.Instant
    package fileprivate(set) var closed: Closing?
    /// Every SETTINGS value of the client, latest last.
    package fileprivate(set) var settings: [(id: Int32, value: UInt32)] = []
    /// PING frames of the client, acknowledgements not counted.
    package fileprivate(set) var pings = 0
    /// By how many bytes the client has opened the connection's window with WINDOW_UPDATE.
    package fileprivate(set) var windowIncrements = 0
    /// The error code of the client's GOAWAY.
    package fileprivate(set) var goAwayCode: UInt32?
    /// The most streams that were open at one time.
    package fileprivate(set) var maxOpenStreams = 0
    fileprivate var openStreams = 0
    /// The indices of its streams in the record.
    fileprivate var streams: [Int] = []

    package init(opened: ContinuousClock.Instant) { self.opened = opened }
  }

  /// When a connection ended, and which side ended it.
  package struct Closing: Sendable {
    package let at: ContinuousClock.Instant
    package let byClient: Bool
  }

  package struct Stream: Sendable {
    package let connection: Int
    package let id: Int32
    package let arrived: ContinuousClock.Instant
    package fileprivate(set) var headers: [Header] = []
    /// The gRPC messages that arrived whole, without their prefixes.
    package fileprivate(set) var messages: [[UInt8]] = []
    /// Whether the client sent END_STREAM.
    package fileprivate(set) var halfClosed = false
    /// The code of the client's RST_STREAM and when it came.
    package fileprivate(set) var reset: (code: UInt32, at: ContinuousClock.Instant)?
    /// When the stream ended, whichever side ended it.
    package fileprivate(set) var closed: ContinuousClock.Instant?
    /// Bytes of DATA payload that the client's windows have let out.
    package fileprivate(set) var bytesSent = 0
    fileprivate var unparsed: [UInt8] = []

    package init(connection: Int, id: Int32, arrived: ContinuousClock.Instant) {
      self.connection = connection
      self.id = id
      self.arrived = arrived
    }

    package var path: String { headers[":path"] ?? "" }
  }
}

extension ScriptedPeer.Record {
  mutating func open(connection: ScriptedPeer.Connection) -> Int {
    connections.append(connection)
    return connections.count - 1
  }

  mutating func close(connection: Int, at time: ContinuousClock.Instant, byClient: Bool) {
    guard connections[connection].closed == nil else { return }
    connections[connection].closed = ScriptedPeer.Closing(at: time, byClient: byClient)
    connections[connection].openStreams = 0
    for index in connections[connection].streams where streams[index].closed == nil { streams[index].closed = time }
  }

  /// - Returns: the stream's index in `streams`.
  mutating func open(stream: ScriptedPeer.Stream) -> Int {
    connections[stream.connection].streams.append(streams.count)
    streams.append(stream)
    connections[stream.connection].openStreams += 1
    connections[stream.connection].maxOpenStreams = max(
      connections[stream.connection].maxOpenStreams, connections[stream.connection].openStreams)
    return streams.count - 1
  }

  mutating func close(stream index: Int, at time: ContinuousClock.Instant) {
    guard streams[index].closed == nil else { return }
    streams[index].closed = time
    connections[streams[index].connection].openStreams -= 1
  }

  mutating func received(setting: (id: Int32, value: UInt32), on connection: Int) {
    connections[connection].settings.append(setting)
  }

  mutating func receivedPing(on connection: Int) {
    connections[connection].pings += 1
  }

  mutating func received(windowIncrement: Int, on connection: Int) {
    connections[connection].windowIncrements += windowIncrement
  }

  mutating func received(goAway code: UInt32, on connection: Int) {
    connections[connection].goAwayCode = code
  }
}

extension ScriptedPeer.Stream {
  mutating func received(header: ScriptedPeer.Header) {
    headers.append(header)
  }

  /// Adds DATA payload and takes out the messages it completes (gRPC over HTTP/2, "Length-Prefixed-Message").
  mutating func received(data: UnsafeBufferPointer<UInt8>) {
    unparsed.append(contentsOf: data)
    while unparsed.count >= 5 {
      let length = unparsed[1..<5].reduce(0) { $0 << 8 | Int($1) }
      guard unparsed.count >= 5 + length else { return }
      messages.append(Array(unparsed[5..<5 + length]))
      unparsed.removeFirst(5 + length)
    }
  }

  mutating func receivedEnd() { halfClosed = true }

  mutating func received(reset code: UInt32, at time: ContinuousClock.Instant) { reset = (code, time) }

  mutating func sent(bytes: Int) { bytesSent += bytes }
}

extension [ScriptedPeer.Header] {
  /// The value of the first field of that name.
  package subscript(name: String) -> String? { first { $0.name == name }?.value }
}
