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
    case .always: true
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

/// Asks etcd whether authentication is on, before anonymous calls that need a user go to etcd. Belongs to a ``Bridge``.
///
/// If authentication is off, that is remembered for a second, so that a cluster without it is asked once a second at
/// most.
final class AnonymousGate {
  /// How long that is remembered, in milliseconds.
  private static let memory: UInt64 = 1000

  private let loop: EventLoop
  private unowned let bridge: Bridge
  private var openUntil: UInt64 = 0
  private var waiting = HeldCalls()
  private var probe: Call?

  init(loop: EventLoop, bridge: Bridge) {
    self.loop = loop
    self.bridge = bridge
  }

  /// Sends `call`, which has no token, once etcd has said that it needs none.
  func admit(_ call: Call) {
    guard loop.now >= openUntil else { return bridge.forward(call) }
    guard bridge.hold(call) else { return }
    waiting.append(call)
    guard probe == nil else { return }
    let probe = AccessQuestion.call(timeout: AccessQuestion.timeout, delegate: self)
    self.probe = probe
    bridge.forward(probe)
  }

  /// Has the next call ask again: authentication has been switched on.
  func shut() { openUntil = 0 }
}

extension AnonymousGate: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}

  func call(_ call: Call, endedWith status: GRPCStatus) {
    probe = nil
    let isOpen = AccessQuestion.isYes(status)
    if isOpen { openUntil = loop.now + Self.memory }
    for call in waiting.takeAll() where call.isHeld {
      if isOpen { bridge.forward(call) } else { bridge.refuse(call, status) }
    }
  }
}
