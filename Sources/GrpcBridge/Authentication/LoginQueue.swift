internal import DequeModule
import EventLoop

/// Logins that wait for their turn. Users who have logged in before come first, then peers that have not failed, then
/// all others; but after several turns of a rank the next one gets a turn. The peers of a rank take turns, so that no
/// peer waits for another's crowd. A pure structure.
struct LoginQueue<Login> {
  /// The order in which logins are made.
  enum Rank: Int {
    /// The user and password are the process's own, or were valid before.
    case trusted
    /// Nothing is known about the user and password.
    case stranger
    /// Logins of the same peer have failed lately.
    case suspect
  }

  /// After so many logins of a rank, one of the ranks behind it is next.
  private let maxInRow = 7

  /// How many logins may wait.
  let limit: Int
  private var turns: [Turns] = [Turns(), Turns(), Turns()]
  /// How many of each rank have gone ahead of waiting logins of the ranks behind it.
  private var inRow = [0, 0, 0]
  var count: Int { turns.reduce(0) { $0 + $1.count } }

  init(limit: Int) { self.limit = limit }

  /// Adds a login behind those of its peer.
  ///
  /// - Returns: the login that has no place any more, if the queue is full: the last one of the peer with the most
  ///   logins, in the last rank that has any.
  mutating func append(_ login: Login, from peer: Peer, as rank: Rank) -> Login? {
    turns[rank.rawValue].append(login, of: peer)
    guard count > limit else { return nil }
    let crowded = turns.lastIndex { $0.count > 0 } ?? rank.rawValue
    return turns[crowded].removeLastOfMost()
  }

  /// Takes out the next login.
  ///
  /// - Parameter isTrusted: whether only a trusted one will do.
  mutating func popFirst(isTrusted: Bool = false) -> Login? {
    if isTrusted { return turns[Rank.trusted.rawValue].popFirst() }
    for rank in turns.indices where turns[rank].count > 0 {
      let isLast = turns[(rank + 1)...].allSatisfy { $0.count == 0 }
      if !isLast && inRow[rank] >= maxInRow {
        inRow[rank] = 0
        continue
      }
      inRow[rank] = isLast ? 0 : inRow[rank] + 1
      return turns[rank].popFirst()
    }
    return nil
  }

  var isEmpty: Bool { turns.allSatisfy { $0.count == 0 } }

  /// The waiting logins of a rank. Their peers take turns.
  private struct Turns {
    private(set) var count = 0
    private var waiting: [Peer: Deque<Login>] = [:]
    /// The peers that wait, the next one first.
    private var order: Deque<Peer> = []

    mutating func append(_ login: Login, of peer: Peer) {
      count += 1
      if waiting[peer] == nil { order.append(peer) }
      waiting[peer, default: []].append(login)
    }

    mutating func popFirst() -> Login? {
      guard let peer = order.popFirst(), let login = waiting[peer]?.popFirst() else { return nil }
      count -= 1
      if waiting[peer]?.isEmpty == false { order.append(peer) } else { waiting[peer] = nil }
      return login
    }

    mutating func removeLastOfMost() -> Login? {
      guard let peer = waiting.max(by: { $0.value.count < $1.value.count })?.key,
        let login = waiting[peer]?.popLast()
      else { return nil }
      count -= 1
      if waiting[peer]?.isEmpty == true {
        waiting[peer] = nil
        order.removeAll { $0 == peer }
      }
      return login
    }
  }
}
