package import EventLoop

/// A ``ScriptedPeer`` without sockets and without a thread, for clients in the same process: it belongs to their loop,
/// and answers within the turn.
package final class MemoryPeer {
  private let loop: EventLoop
  private let script: ScriptedPeer.Answering
  private let settings: ScriptedPeer.Settings
  private let shared: ScriptedPeerState
  private var connections: [Int: ScriptedPeerConnection] = [:]

  package init(
    on loop: EventLoop, settings: ScriptedPeer.Settings = .init(), script: @escaping ScriptedPeer.Script
  ) {
    self.loop = loop
    self.settings = settings
    self.script = ScriptedPeer.Answering(by: script)
    shared = ScriptedPeerState(wake: {})
  }

  /// Everything that happened until now.
  package var record: ScriptedPeer.Record { shared.record }

  /// Makes a connection to the peer.
  package func connect() -> any ByteStream {
    let number = shared.update { $0.open(connection: .init(opened: .now)) }
    let wire = MemoryWire()
    let connection = ScriptedPeerConnection(number: number, wire: wire, settings: settings, shared: shared) {
      [unowned self] in
      script.answer($0)
    }
    connections[number] = connection
    return MemoryStream(loop: loop, wire: wire, connection: connection)
  }

  /// Closes all connections.
  package func close() {
    for connection in connections.values { connection.close(abruptly: false) }
    connections = [:]
  }

  /// Continues streams whose gates have opened (`ScriptedPeer.Step.wait`).
  package func continueStreams() {
    for command in shared.takeCommands() {
      if case .resume(let number, let stream) = command { connections[number]?.resume(stream: stream) }
    }
  }
}

/// A connection in memory, as the peer has it.
private final class MemoryWire: PeerWire {
  /// What each side has sent and the other has not read.
  var toPeer: [UInt8] = []
  var toClient: [UInt8] = []
  var isClosedByClient = false
  private(set) var isClosedByPeer = false
  /// Notifies the client that there is something to read.
  var onEvent: () -> Void = {}

  func read() -> [UInt8]? {
    defer { toPeer = [] }
    return isClosedByClient && toPeer.isEmpty ? nil : toPeer
  }

  func write(_ bytes: ArraySlice<UInt8>) -> Int? {
    guard !isClosedByClient else { return nil }
    toClient += bytes
    onEvent()
    return bytes.count
  }

  func close(abruptly: Bool) {
    isClosedByPeer = true
    onEvent()
  }
}

/// A connection in memory, as the client has it.
private final class MemoryStream: ByteStream {
  var onEvent: (SocketEvents) -> Void = { _ in }
  private let wire: MemoryWire
  private let connection: ScriptedPeerConnection
  /// Nothing is notified from within a call of the client.
  private var timer: LoopTimer?

  init(loop: EventLoop, wire: MemoryWire, connection: ScriptedPeerConnection) {
    self.wire = wire
    self.connection = connection
    timer = LoopTimer(loop: loop) { [unowned self] in onEvent(.readable) }
    wire.onEvent = { [unowned self] in timer?.start(after: 0) }
  }

  deinit {
    wire.onEvent = {}
    wire.isClosedByClient = true
    connection.turn()
  }

  func watch(_ events: SocketEvents) {
    if events.contains(.readable), !wire.toClient.isEmpty || wire.isClosedByPeer { timer?.start(after: 0) }
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamSocket.ReadResult {
    guard !wire.toClient.isEmpty else { return wire.isClosedByPeer ? .closed : .wouldBlock }
    let count = min(buffer.count, wire.toClient.count)
    buffer.copyBytes(from: wire.toClient[..<count])
    wire.toClient.removeFirst(count)
    return .bytes(count)
  }

  func write(_ bytes: UnsafeRawBufferPointer) -> Int {
    wire.toPeer += bytes
    connection.turn()
    return bytes.count
  }
}
