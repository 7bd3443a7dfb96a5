import Foundation

/// The peer's thread: one `poll` over the port, the connections and the wake-up, until it is stopped.
///
/// Made and used on that thread only.
final class ScriptedPeerLoop {
  private let listener: PeerListener
  private let settings: ScriptedPeer.Settings
  private let script: ScriptedPeer.Answering
  private let shared: ScriptedPeerState
  private let wakeUp: PeerWakeUp
  /// The open connections that speak HTTP/2, by number.
  private var connections: [Int: ScriptedPeerConnection] = [:]
  /// Their sockets.
  private var sockets: [Int: PeerSocket] = [:]
  /// The sockets of connections that get no answer; never polled.
  private var silent: [Int: Int32] = [:]

  init(
    listener: PeerListener, settings: ScriptedPeer.Settings, script: @escaping ScriptedPeer.Script,
    shared: ScriptedPeerState, wakeUp: PeerWakeUp
  ) {
    self.wakeUp = wakeUp
    self.listener = listener
    self.settings = settings
    self.script = ScriptedPeer.Answering(by: script)
    self.shared = shared
  }

  func run() {
    while true {
      let deadline = shared.settleWaiters()
      poll(until: deadline)
      wakeUp.reset()
      for command in shared.takeCommands() {
        if case .stop = command { return stop() }
        perform(command)
      }
      for connection in connections.values where connection.isFinished {
        connections[connection.number] = nil
        sockets[connection.number] = nil
      }
    }
  }

  private func poll(until deadline: ContinuousClock.Instant?) {
    let open = connections.values.filter { !$0.isFrozen }
    var polled = [pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0)]
    polled.append(pollfd(fd: listener.socket ?? -1, events: Int16(POLLIN), revents: 0))
    polled += open.map { connection in
      pollfd(
        fd: sockets[connection.number]?.descriptor ?? -1, events: Int16(POLLIN | (connection.hasOutput ? POLLOUT : 0)),
        revents: 0)
    }
    Glibc.poll(&polled, nfds_t(polled.count), milliseconds(until: deadline))
    for (connection, result) in zip(open, polled.dropFirst(2)) where result.revents != 0 {
      connection.turn()
    }
    if polled[1].revents != 0 { acceptAll() }
  }

  private func milliseconds(until deadline: ContinuousClock.Instant?) -> Int32 {
    guard let deadline else { return -1 }
    let left = max(.zero, deadline - .now)
    return Int32(clamping: Int(left / .milliseconds(1)) + 1)
  }

  private func acceptAll() {
    while let socket = listener.accept() {
      let connection = ScriptedPeer.Connection(opened: .now)
      let number = shared.update { $0.open(connection: connection) }
      switch settings.welcome(number) {
      case .serve:
        let socket = PeerSocket(socket)
        sockets[number] = socket
        connections[number] = ScriptedPeerConnection(
          number: number, wire: socket, settings: settings, shared: shared,
          script: { [unowned self] in script.answer($0) })
      case .silence:
        silent[number] = socket
      case .close:
        finish(number: number, socket: socket)
      case .bytes(let bytes):
        _ = send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        finish(number: number, socket: socket)
      }
    }
  }

  private func perform(_ command: ScriptedPeerState.Command) {
    switch command {
    case .goAway(let number, let lastStream, let code):
      for connection in selected(number) { connection.goAway(lastStream: lastStream, code: code) }
    case .close(let number, let abruptly):
      for connection in selected(number) { connection.close(abruptly: abruptly) }
      for (silentNumber, socket) in silent where number == nil || number == silentNumber {
        if abruptly { makeCloseAbrupt(socket) }
        silent[silentNumber] = nil
        finish(number: silentNumber, socket: socket)
      }
    case .listen(true):
      do { try listener.listen() } catch { preconditionFailure("the peer's own port: \(error)") }
    case .listen(false):
      listener.close()
    case .limitStreams(let limit):
      for connection in connections.values { connection.limitStreams(to: limit) }
    case .resume(let number, let stream):
      connections[number]?.resume(stream: stream)
    case .stop:
      break
    }
  }

  private func selected(_ number: Int?) -> [ScriptedPeerConnection] {
    guard let number else { return Array(connections.values) }
    return connections[number].map { [$0] } ?? []
  }

  private func finish(number: Int, socket: Int32) {
    _ = Glibc.close(socket)
    let now = ContinuousClock.now
    shared.update { $0.close(connection: number, at: now, byClient: false) }
  }

  private func stop() {
    listener.close()
    for connection in connections.values { connection.close(abruptly: false) }
    for (number, socket) in silent { finish(number: number, socket: socket) }
    shared.stop()
  }
}
