import EventLoop
import GrpcBridge

/// Knows the versions that members have told, each for as long as the connection to it lasts and for a minute at most,
/// as that of the cluster may change; that one tells nothing, for a few seconds. Belongs to one shard.
final class VersionMemory {
  private static let lifetime: UInt64 = 60_000
  /// For how long a member is not asked again, in milliseconds, that has told nothing, or nothing that lasts.
  private static let pause: UInt64 = 3000

  private let loop: EventLoop
  private unowned let bridge: Bridge
  private let configuration: Channel.Configuration
  /// By the member's endpoint.
  private var known: [Endpoint: (member: ReadyMember, versions: MemberVersions?, end: UInt64)] = [:]
  private var request: VersionRequest?
  /// Those who wait for the answer to the one request that is under way, by their tickets.
  private var waiting: [Int: (MemberVersions?) -> Void] = [:]
  private var lastTicket = 0

  init(loop: EventLoop, bridge: Bridge, configuration: Channel.Configuration) {
    self.loop = loop
    self.bridge = bridge
    self.configuration = configuration
  }

  /// Asks a member that there is a connection to.
  ///
  /// - Parameter answer: hears what it says, perhaps at once; nil if that is nothing.
  /// - Returns: what ``forget(_:)`` takes; nil if there is no such member, or if `answer` was called.
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

  /// Takes out a caller that does not wait any longer.
  func forget(_ cancellationToken: Int) { waiting[cancellationToken] = nil }

  private func settle(_ member: ReadyMember, _ versions: MemberVersions?) {
    request = nil
    // Members come and go; what is known of those that have gone is of no use.
    known = known.filter { loop.now < $0.value.end }
    known[member.endpoint] = (member, versions, loop.now + (versions?.isDecided == true ? Self.lifetime : Self.pause))
    let all = waiting
    waiting = [:]
    for answer in all.values { answer(versions) }
  }

  /// Ends what is under way: all callers get nothing.
  func close() {
    request?.cancel()
    request = nil
    let all = waiting
    waiting = [:]
    for answer in all.values { answer(nil) }
  }
}
