import CNghttp2
import Foundation

/// One connection of the peer: an nghttp2 server session and the steps of its streams.
///
/// nghttp2's callbacks only record what came and which stream is next; sending happens afterwards in `turn`, as nghttp2
/// forbids to send or receive within a callback.
final class ScriptedPeerConnection {
  private struct Active {
    /// The stream's index in the record.
    let index: Int
    var steps: ArraySlice<ScriptedPeer.Step> = []
    var scripted = false
    /// The DATA being sent, and how much of it was sent.
    var data: [UInt8] = []
    var sent = 0
  }

  let number: Int
  private let wire: any PeerWire
  private let shared: ScriptedPeerState
  private let script: (ScriptedPeer.Call) -> ScriptedPeer.Answer
  private var session: PeerSession?
  private var active: [Int32: Active] = [:]
  /// The streams whose next step may run.
  private var runnable: [Int32] = []
  /// The streams that wait for the acknowledgement of a PING, by its payload.
  private var barriers: [UInt64: Int32] = [:]
  private var lastBarrier: UInt64 = 0
  private var output: [UInt8] = []
  private var written = 0
  /// Set once a step wants to close: how.
  private var closing: (abruptly: Bool, Void)?
  /// Whether the client has sent GOAWAY.
  private var hasHeardGoodbye = false

  /// Whether it is frozen for good.
  private(set) var isFrozen = false

  private(set) var isFinished = false
  var hasOutput: Bool { written < output.count || closing != nil }

  init(
    number: Int, wire: any PeerWire, settings: ScriptedPeer.Settings, shared: ScriptedPeerState,
    script: @escaping (ScriptedPeer.Call) -> ScriptedPeer.Answer
  ) {
    self.number = number
    self.wire = wire
    self.shared = shared
    self.script = script
    let session = PeerSession(owner: self)
    self.session = session
    session.submitSettings(settings)
    pump()
  }

  deinit { finish(byClient: false) }

  /// Reads what has come, runs the steps that may run, writes what can be written.
  func turn() {
    read()
    pump()
  }

  func goAway(lastStream: Int32, code: UInt32) {
    session?.submitGoAway(lastStream: lastStream, code: code)
    pump()
  }

  func limitStreams(to limit: UInt32) {
    session?.submitStreamLimit(limit)
    pump()
  }

  func resume(stream: Int32) {
    runnable.append(stream)
    pump()
  }

  /// Closes now, whatever is still to be written.
  func close(abruptly: Bool) {
    guard !isFinished else { return }
    finish(byClient: false, abruptly: abruptly)
  }
}

// MARK: - Reading and writing

extension ScriptedPeerConnection {
  private func read() {
    while let session, !isFinished {
      guard let bytes = wire.read() else { return finish(byClient: true) }
      if bytes.isEmpty { return }
      guard session.receive(bytes[...]) else { return finish(byClient: false) }
    }
  }

  private func pump() {
    guard !isFrozen else { return }
    var isDrained: Bool
    repeat {
      isDrained = fillOutput()
      while isDrained, let stream = nextRunnable() {
        step(stream)
        isDrained = fillOutput()
      }
    } while !isFinished && flush() && !isDrained
    guard !isFinished, !hasUnwritten else { return }
    if let closing {
      close(abruptly: closing.abruptly)
    } else if let session, !session.wantsMore {
      // Once the client has sent GOAWAY, nothing more will come: newer versions of curl send it before they close.
      finish(byClient: hasHeardGoodbye)
    }
  }

  private var hasUnwritten: Bool { written < output.count }

  /// Takes the output of the session, up to a limit.
  /// - Returns: whether that was everything.
  private func fillOutput() -> Bool {
    while let session {
      guard output.count - written < 1 << 20 else { return false }
      guard session.takeOutput({ output.append(contentsOf: $0) }) else { return true }
    }
    return true
  }

  /// - Returns: whether everything has been written.
  private func flush() -> Bool {
    while hasUnwritten {
      guard let count = wire.write(output[written...]) else {
        finish(byClient: true)
        return false
      }
      guard count > 0 else { return false }
      written += count
    }
    output.removeAll(keepingCapacity: true)
    written = 0
    return true
  }

  private func finish(byClient: Bool, abruptly: Bool = false) {
    guard !isFinished else { return }
    isFinished = true
    wire.close(abruptly: abruptly)
    session = nil
    active = [:]
    let now = ContinuousClock.now
    shared.update { $0.close(connection: number, at: now, byClient: byClient) }
  }
}

// MARK: - Steps

extension ScriptedPeerConnection {
  private func nextRunnable() -> Int32? {
    runnable.isEmpty || closing != nil || isFrozen ? nil : runnable.removeFirst()
  }

  private func step(_ stream: Int32) {
    guard let session, let step = active[stream]?.steps.popFirst() else { return }
    switch step {
    case .headers(let headers):
      session.submitHeaders(headers, stream: stream, endStream: false)
      runnable.append(stream)
    case .trailers(let headers):
      session.submitHeaders(headers, stream: stream, endStream: true)
      runnable.append(stream)
    case .data(let bytes):
      active[stream]?.data = bytes
      active[stream]?.sent = 0
      session.submitData(stream: stream, endStream: false)
    case .endStream:
      active[stream]?.data = []
      active[stream]?.sent = 0
      session.submitData(stream: stream, endStream: true)
    case .raw(let bytes):
      // The session's earlier output is there already.
      output.append(contentsOf: bytes)
      runnable.append(stream)
    case .rawOnStream(let bytes):
      output.append(contentsOf: bytes(stream))
      runnable.append(stream)
    case .reset(let code):
      session.submitReset(stream: stream, code: code)
    case .goAway(let lastStream, let code):
      session.submitGoAway(lastStream: lastStream, code: code)
      runnable.append(stream)
    case .close(let abruptly):
      closing = (abruptly, ())
    case .freeze:
      isFrozen = true
    case .barrier:
      lastBarrier += 1
      barriers[lastBarrier] = stream
      session.submitPing(lastBarrier)
    case .wait(let gate):
      gate.whenOpen { [shared, number] in shared.post(.resume(connection: number, stream: stream)) }
    }
  }

  private func askScript(stream: Int32) {
    guard let index = active[stream]?.index, active[stream]?.scripted == false else { return }
    let record = shared.update { $0.streams[index] }
    guard record.halfClosed || !record.messages.isEmpty else { return }
    let call = ScriptedPeer.Call(
      connection: number, stream: stream, attempt: 0, headers: record.headers, message: record.messages.first ?? [])
    active[stream]?.scripted = true
    active[stream]?.steps = script(call).steps[...]
    runnable.append(stream)
  }
}

// MARK: - Callbacks of nghttp2

extension ScriptedPeerConnection: PeerSessionOwner {
  func streamBegan(_ stream: Int32) {
    let opened = ScriptedPeer.Stream(connection: number, id: stream, arrived: .now)
    active[stream] = Active(index: shared.update { $0.open(stream: opened) })
  }

  func received(header: ScriptedPeer.Header, stream: Int32) {
    guard let index = active[stream]?.index else { return }
    shared.update { $0.streams[index].received(header: header) }
  }

  func received(data: UnsafeBufferPointer<UInt8>, stream: Int32) {
    guard let index = active[stream]?.index else { return }
    shared.update { $0.streams[index].received(data: data) }
  }

  func received(frame: PeerSession.Frame) {
    let now = ContinuousClock.now
    switch frame {
    case .part(let stream, let isLast):
      guard let index = active[stream]?.index else { return }
      if isLast { shared.update { $0.streams[index].receivedEnd() } }
      askScript(stream: stream)
    case .reset(let stream, let code):
      guard let index = active[stream]?.index else { return }
      shared.update { $0.streams[index].received(reset: code, at: now) }
    case .settings(let values):
      shared.update { record in
        for value in values { record.received(setting: value, on: number) }
      }
    case .ping:
      shared.update { $0.receivedPing(on: number) }
    case .pong(let payload):
      if let stream = barriers.removeValue(forKey: payload) { runnable.append(stream) }
    case .goAway(let code):
      hasHeardGoodbye = true
      shared.update { $0.received(goAway: code, on: number) }
    case .window(let increment):
      shared.update { $0.received(windowIncrement: increment, on: number) }
    }
  }

  func streamClosed(_ stream: Int32) {
    guard let index = active.removeValue(forKey: stream)?.index else { return }
    let now = ContinuousClock.now
    shared.update { $0.close(stream: index, at: now) }
  }

  func data(for stream: Int32, into buffer: UnsafeMutableBufferPointer<UInt8>) -> (count: Int, isLast: Bool)? {
    guard let current = active[stream] else { return nil }
    let count = min(buffer.count, current.data.count - current.sent)
    _ = buffer.update(fromContentsOf: current.data[current.sent..<current.sent + count])
    active[stream]?.sent += count
    shared.update { $0.streams[current.index].sent(bytes: count) }
    let isLast = current.sent + count == current.data.count
    if isLast { runnable.append(stream) }
    return (count, isLast)
  }
}
