import EventLoop
import ProtobufWire

/// Which calls of an RPC must have a user if authentication is on, even if etcd does not require one.
///
/// Releases before 3.5.28 and 3.6.9 execute some changes without credentials. In all of 3.4 and 3.5 a member that has
/// raised an alarm executes writes without a check of permissions (etcd #22386): a client without credentials could
/// switch authentication off.
package enum UserNeed: Sendable, Equatable {
  case none
  case always
  /// All calls; and as etcd does not look at the token, a client's own token must be proven first.
  case proven
  /// Calls whose request has set this number field.
  case ifSet(field: UInt32)

  /// - Parameter field: 0 if all calls are meant.
  init(always: Bool, ifSet field: UInt32) {
    self = !always ? .none : field == 0 ? .always : .ifSet(field: field)
  }

  @inline(__always)
  func holds(for message: borrowing CallMessage) -> Bool {
    switch self {
    case .none: false
    case .always, .proven: true
    case .ifSet(let field): Self.isSet(field, in: message)
    }
  }

  private static func isSet(_ number: UInt32, in message: borrowing CallMessage) -> Bool {
    let bytes = UnsafeRawBufferPointer(message.frame)
    var fields = ProtobufPullParser(bytes, in: CallMessage.headroom..<bytes.count)
    var isSet = false
    do throws(WireError) {
      while let field = try fields.next() {
        if field.number == Int(number) { isSet = field.value != 0 }
      }
    } catch {
      // A message that cannot be read needs a user.
      return true
    }
    return isSet
  }
}

/// Asks etcd about callers before calls that it would execute for anybody go there. Belongs to a ``Bridge``.
///
/// Without a token it is asked whether authentication is on. If authentication is off, that is remembered for a second,
/// so that a cluster without it is asked once a second at most. If it is on, and the client has sent a token that must
/// be proven, etcd is asked with that token, too; that it knows the token is remembered for as long.
///
/// A stream that has passed may have further requests for as long as the answer holds (``admits(_:)``).
final class AnonymousGate {
  /// How long an answer is remembered, in milliseconds.
  private static let memory: UInt64 = 1000
  /// How long a stream may have further requests after etcd knew its token, in milliseconds. Much longer, so that a
  /// client who renews a lease from time to time does not ask as often as it renews. If authentication was switched
  /// off between the two questions, any token was known: that ends with this time.
  private static let tokenLife: UInt64 = 60_000
  /// How many tokens are remembered at most.
  private static let maxTokens = 256
  /// At this number of questions about tokens, those that no call waits for any more are ended.
  private static let leastProofs = 64

  private let loop: EventLoop
  private unowned let bridge: Bridge
  private var openUntil: UInt64 = 0
  private var waiting = HeldCalls()
  /// Get the answer to the question whether authentication is on.
  private var listeners: [(GRPCStatus) -> Void] = []
  private var probe: Call?
  /// The tokens that etcd knew, and until when that is remembered.
  private var proven: [Token: UInt64] = [:]
  /// The questions about tokens, each with the call that waits for its answer.
  private var proofs: [ObjectIdentifier: (question: Call, call: Call)] = [:]
  private var maxProofs = AnonymousGate.leastProofs

  init(loop: EventLoop, bridge: Bridge) {
    self.loop = loop
    self.bridge = bridge
  }

  /// Sends `call` once etcd has said that it needs no token, or that it knows the one that the client has sent.
  func admit(_ call: Call) {
    if loop.now < openUntil { return pass(call, .withoutUsers) }
    if let token = call.clientToken, let end = proven[token], loop.now < end { return pass(call, tokenAdmission) }
    guard bridge.hold(call) else { return }
    waiting.append(call)
    ask()
  }

  /// Whether a stream that has passed may have further requests, as far as that is known.
  func admits(_ call: Call) -> Bool {
    switch call.admission {
    case .lasting: true
    case .withoutUsers: loop.now < openUntil
    case .withToken(let end): loop.now < end || loop.now < openUntil
    }
  }

  /// Asks etcd whether authentication is on. If it is off, all streams are admitted for a while.
  ///
  /// - Parameter answer: called once, at once if the bridge was closed, with the status of an ``AccessQuestion``
  ///   without credentials.
  func ask(answer: @escaping (GRPCStatus) -> Void) {
    listeners.append(answer)
    ask()
  }

  private func ask() {
    guard probe == nil else { return }
    let probe = AccessQuestion.call(timeout: AccessQuestion.timeout, delegate: self)
    self.probe = probe
    bridge.forward(probe)
  }

  private func pass(_ call: Call, _ admission: Call.Admission) {
    call.admission = admission
    bridge.forward(call)
  }

  private var tokenAdmission: Call.Admission { .withToken(until: loop.now + Self.tokenLife) }

  /// Has the next call ask again: users, or the use of authentication, have changed.
  func shut() {
    openUntil = 0
    proven = [:]
  }

  /// Asks etcd whether it knows the token of `call`, which is held.
  private func prove(_ call: Call) {
    if proofs.count >= maxProofs {
      for (id, proof) in proofs where !proof.call.isHeld {
        bridge.cancel(proof.question)
        proofs[id] = nil
      }
      maxProofs = max(Self.leastProofs, 2 * proofs.count)
    }
    let question = AccessQuestion.call(timeout: AccessQuestion.timeout, delegate: self)
    question.token = call.token
    proofs[ObjectIdentifier(question)] = (question, call)
    bridge.forward(question)
  }

  private func remember(_ token: Token) {
    if proven.count >= Self.maxTokens { proven = proven.filter { loop.now < $0.value } }
    if proven.count >= Self.maxTokens { proven = [:] }
    proven[token] = loop.now + Self.memory
  }
}

extension AnonymousGate: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}

  func call(_ call: Call, endedWith status: GRPCStatus) {
    if let proof = proofs.removeValue(forKey: ObjectIdentifier(call)) { return proved(proof.call, status) }
    probe = nil
    let isOpen = AccessQuestion.isYes(status)
    if isOpen { openUntil = loop.now + Self.memory }
    for call in waiting.takeAll() where call.isHeld {
      if isOpen {
        pass(call, .withoutUsers)
      } else if call.clientToken != nil, AccessQuestion.isNo(status) {
        prove(call)
      } else {
        bridge.refuse(call, status)
      }
    }
    let listeners = listeners
    self.listeners = []
    for listener in listeners { listener(status) }
  }

  private func proved(_ call: Call, _ status: GRPCStatus) {
    let isKnown = AccessQuestion.isOfKnownCaller(status)
    if isKnown, let token = call.clientToken { remember(token) }
    guard call.isHeld else { return }
    if isKnown { pass(call, tokenAdmission) } else { bridge.refuse(call, status) }
  }
}

extension Call {
  /// The token that the client has sent; etcd may never have issued it. Nil if the bridge has logged the user in, or
  /// there is none.
  var clientToken: Token? {
    if case .token(let token) = caller.credentials { token } else { nil }
  }
}
