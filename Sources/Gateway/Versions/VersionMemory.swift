import EventLoop
import GrpcBridge

/// Remembers the versions that members have reported, each as long as the connection to the member lasts and for a
/// minute at most, as the cluster's version may change. It also remembers for a few seconds that a member has reported
/// none. Belongs to one shard.
final class VersionMemory {
  private static let lifetime: UInt64 = 60_000
  /// For how long a member is not asked again, in milliseconds, after it has reported none, or one that may soon
  /// change.
  private static let pause: UInt64 = 3000

  private let loop: EventLoop
  private unowned let bridge: Bridge
  private let configuration: Channel.Configuration
  /// By the member's endpoint.
  private var known: [Endpoint: (member: ReadyMember, versions: MemberVersions?, end: UInt64)] = [:]
  private var request: VersionRequest?
  /// The callbacks that wait for the one request under way, by their tokens.
  private var waiting: [Int: (MemberVersions?) -> Void] = [:]
  private var lastTicket = 0

  init(loop: EventLoop, bridge: Bridge, configuration: Channel.Configuration) {
    self.loop = loop
    self.bridge = bridge
    self.configuration = configuration
  }

  /// Asks a member with a connection.
  ///
  /// - Parameter answer: called with the member's versions, perhaps at once; nil if it reports none.
  /// - Returns: the token for ``forget(_:)``; nil if there is no such member, or if `answer` was called.
  func ask(_ answer: @escaping (MemberVersions?) -> Void) -> Int? {
    guard let member = bridge.readyMember else {
      answer(nil)
      return nil
    }
    if let known = known[member.endpoint], known.member == member, loop.now < known.end {
      answer(known.versions)
      return nil
    }
    lastTicket += 1
    waiting[lastTicket] = answer
    guard request == nil else { return lastTicket }
    let request = VersionRequest(to: member.endpoint, tls: configuration.tls, loop: loop) { [unowned self] versions in
      settle(member, versions)
    }
    self.request = request
    request.start(timeout: configuration.dialTimeout)
    return lastTicket
  }

  /// Removes a callback that no longer waits.
  func forget(_ cancellationToken: Int) { waiting[cancellationToken] = nil }

  private func settle(_ member: ReadyMember, _ versions: MemberVersions?) {
    request = nil
    // Members come and go: forgets expired entries.
    known = known.filter { loop.now < $0.value.end }
    known[member.endpoint] = (member, versions, loop.now + (versions?.isDecided == true ? Self.lifetime : Self.pause))
    let all = waiting
    waiting = [:]
    for answer in all.values { answer(versions) }
  }

  /// Ends the request under way: all callbacks get nil.
  func close() {
    request?.cancel()
    request = nil
    let all = waiting
    waiting = [:]
    for answer in all.values { answer(nil) }
  }
}
