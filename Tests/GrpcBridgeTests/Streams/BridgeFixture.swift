import EventLoop
import Logging
import Synchronization
import TestSupport
import Testing

@testable import GrpcBridge

/// A bridge on a thread of its own, which tests can use.
final class BridgeFixture: Sendable {
  let peer: ScriptedPeer
  let bridge: LoopBound<Bridge>
  let loop: LoopBound<EventLoop>
  private let remote: EventLoop.Remote
  private let thread: LoopThread
  private let authenticator: Authenticator
  /// Delegates have to outlive their calls.
  private let calls = Mutex<[RecordedCall]>([])

  /// - Parameter others: further members, which the caller keeps alive.
  init(_ peer: ScriptedPeer, others: [ScriptedPeer] = [], _ configuration: Bridge.Configuration = .init()) throws {
    self.peer = peer
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let endpoints = try ([peer] + others).map { try Endpoint($0.endpoint) }
    let authenticator = try Authenticator(
      endpoints: endpoints, channel: .init(), configuration: .init(), logger: logger, channelLogger: logger)
    try authenticator.start()
    self.authenticator = authenticator
    let loop = try EventLoop()
    let bridge = Bridge(
      loop: loop, endpoints: endpoints, authenticator: authenticator, configuration: configuration, logger: logger)
    loop.beforeWaiting { [unowned bridge] in bridge.flush() }
    self.loop = LoopBound(loop, loop: loop)
    self.bridge = LoopBound(bridge, loop: loop)
    remote = loop.remote
    thread = try LoopThread(name: "bridge", running: self.loop)
  }

  /// Runs `body` on the bridge's thread.
  func run<Result: Sendable>(_ body: @escaping @Sendable (Bridge) -> Result) async -> Result {
    await withCheckedContinuation { continuation in
      remote.execute { [bridge] in continuation.resume(returning: body(bridge.value)) }
    }
  }

  /// Starts a call with these messages, all in one turn of the loop.
  ///
  /// - Parameters:
  ///   - refused: a call whose token has to be replaced.
  ///   - reaction: called on the loop at the end of each message, with the number of messages so far.
  func start(
    _ method: CallMethod, _ messages: [[UInt8]], user: BasicCredentials? = nil, timeout: UInt64? = nil,
    insteadOf refused: RecordedCall? = nil, reaction: @escaping RecordedCall.Reaction = { _, _, _ in }
  ) async -> RecordedCall {
    let recorded = RecordedCall(bridge: bridge, reaction: reaction)
    calls.withLock { $0.append(recorded) }
    await run { [bridge, loop] _ in
      let call = Call(
        method, message: CallMessage(copying: messages[0]), timeout: timeout.map { GRPCTimeout(milliseconds: $0) },
        delegate: recorded)
      recorded.call = LoopBound(call, loop: loop.value)
      let credentials = user.map { CallCredentials.user(bridge.value.keep($0)) } ?? .none
      bridge.value.start(call, for: Caller(credentials, peer: .itself), insteadOf: refused?.call?.value)
      for message in messages.dropFirst() { bridge.value.send(CallMessage(copying: message), on: call) }
    }
    return recorded
  }

  /// The callers of calls.
  enum User: Sendable {
    case nobody
    case token(String)
    case basic(BasicCredentials)
  }

  /// Starts a call with each of these messages, all in one turn of the loop.
  ///
  /// - Parameters:
  ///   - timeouts: the timeouts of the first calls; the others have none.
  ///   - also: called in the same turn.
  func startTogether(
    _ method: CallMethod, _ messages: [[UInt8]], for user: User = .nobody, timeouts: [UInt64?] = [],
    reaction: @escaping RecordedCall.Reaction = { _, _, _ in },
    also: @escaping @Sendable (Bridge, [Call]) -> Void = { _, _ in }
  ) async -> [RecordedCall] {
    let all = messages.map { _ in RecordedCall(bridge: bridge, reaction: reaction) }
    calls.withLock { $0 += all }
    await run { [loop] bridge in
      let credentials: CallCredentials =
        switch user {
        case .nobody: .none
        case .token(let token): .token(Token(token.utf8))
        case .basic(let credentials): .user(bridge.keep(credentials))
        }
      var started: [Call] = []
      for (index, (recorded, message)) in zip(all, messages).enumerated() {
        let timeout = index < timeouts.count ? timeouts[index] : nil
        let call = Call(
          method, message: CallMessage(copying: message), timeout: timeout.map { GRPCTimeout(milliseconds: $0) },
          delegate: recorded)
        recorded.call = LoopBound(call, loop: loop.value)
        bridge.start(call, for: Caller(credentials, peer: .itself))
        started.append(call)
      }
      also(bridge, started)
    }
    return all
  }

  /// Wraps a value of the bridge's thread so that the test's thread can hold it.
  func bind<Value>(_ value: Value) -> LoopBound<Value> { LoopBound(value, loop: loop.value) }

  /// Runs `body` with a call on its loop.
  func with(_ recorded: RecordedCall, _ body: @escaping @Sendable (Bridge, Call) -> Void) async {
    await run { body($0, recorded.call!.value) }
  }

  func stop() {
    remote.execute { [bridge, loop] in
      bridge.value.close()
      loop.value.stop()
    }
    thread.join()
    authenticator.close()
  }
}

/// Runs `body` with a bridge to a peer that follows `script`.
func withBridge(
  _ settings: ScriptedPeer.Settings = .init(), _ configuration: Bridge.Configuration = .init(),
  script: @escaping ScriptedPeer.Script,
  body: (BridgeFixture) async throws -> Void
) async throws {
  let fixture = try BridgeFixture(ScriptedPeer(settings: settings, script: script), configuration)
  defer { fixture.stop() }
  try await body(fixture)
}

/// A call that records its notifications.
final class RecordedCall: CallDelegate, Sendable {
  typealias Reaction = @Sendable (Bridge, Call, Int) -> Void

  private struct State {
    var call: LoopBound<Call>?
    var messages: [[UInt8]] = []
    var isInMessage = false
    var status: GRPCStatus?
    var ends = 0
  }

  private let state = Mutex(State())
  private let bridge: LoopBound<Bridge>
  private let reaction: Reaction

  init(bridge: LoopBound<Bridge>, reaction: @escaping Reaction) {
    self.bridge = bridge
    self.reaction = reaction
  }

  var call: LoopBound<Call>? {
    get { state.withLock { $0.call } }
    set { state.withLock { $0.call = newValue } }
  }

  /// The messages, the last one as far as it has come.
  var messages: [[UInt8]] { state.withLock { $0.messages } }
  /// How often the delegate was notified of the end.
  var ends: Int { state.withLock { $0.ends } }
  private var status: GRPCStatus? { state.withLock { $0.status } }
  private var completeCount: Int { state.withLock { $0.messages.count - ($0.isInMessage ? 1 : 0) } }

  /// Waits until so many messages have come whole.
  func messages(_ count: Int) async throws -> [[UInt8]] {
    try await eventually("\(count) messages") { completeCount >= count ? messages : nil }
  }

  /// Waits for the end.
  func end() async throws -> GRPCStatus { try await eventually("end of the call") { status } }

  func expectEnd(_ code: GRPCCode, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let status = try await end()
    #expect(status.code == code, "\(status)", sourceLocation: sourceLocation)
  }

  func call(_ call: Call, willReceive length: Int) {
    state.withLock {
      precondition(!$0.isInMessage)
      $0.isInMessage = true
      $0.messages.append([])
    }
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    state.withLock { $0.messages[$0.messages.count - 1] += bytes }
  }

  func callReceivedMessage(_ call: Call) {
    let count = state.withLock {
      $0.isInMessage = false
      return $0.messages.count
    }
    reaction(bridge.value, call, count)
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    state.withLock {
      $0.status = status
      $0.ends += 1
    }
  }
}

extension CallMethod {
  static let stream = CallMethod(path: "/test/Stream", isRepeatable: false, isStream: true, requiresLeader: true)
  static let repeatableStream = CallMethod(path: "/test/Repeatable", isRepeatable: true, isStream: true)
  static let unary = CallMethod(path: "/test/Unary", isRepeatable: false)
}
