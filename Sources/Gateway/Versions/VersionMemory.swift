import EventLoop
import GrpcBridge

/// Knows the versions that a member has told, for as long as the connection to it lasts and for a minute at most, as that of
/// the cluster may change. Belongs to one shard.
final class VersionMemory {
  private static let lifetime: UInt64 = 60_000

  private let loop: EventLoop
  private unowned let bridge: Bridge
  private let configuration: Channel.Configuration
  private var known: (member: ReadyMember, versions: MemberVersions, end: UInt64)?
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
  /// - Parameter answer: hears what it says, perhaps at once; nil where that is nothing.
  /// - Returns: what ``forget(_:)`` takes; nil where there is no such member, or where `answer` was called.
  func ask(_ answer: @escaping (MemberVersions?) -> Void) -> Int? {
    guard let member = bridge.readyMember else {
      answer(nil)
      return nil
    }
    if let known, known.member == member, loop.now < known.end {
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

  /// Takes out somebody who does not wait any longer.
  func forget(_ ticket: Int) { waiting[ticket] = nil }

  private func settle(_ member: ReadyMember, _ versions: MemberVersions?) {
    request = nil
    if let versions, versions.isDecided {
      known = (member, versions, loop.now + Self.lifetime)
    }
    let all = waiting
    waiting = [:]
    for answer in all.values { answer(versions) }
  }

  /// Ends what is under way: everybody hears of nothing.
  func close() {
    request?.cancel()
    request = nil
    let all = waiting
    waiting = [:]
    for answer in all.values { answer(nil) }
  }
}
