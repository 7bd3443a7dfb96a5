internal import CMicrohttpd
import Glibc

/// A request's target in libmicrohttpd's buffer, of which it knows no query.
///
/// The first byte of the query is NUL for as long as libmicrohttpd parses: it would make an entry of each parameter,
/// without end, and 1.0.0 to 1.0.8 crash on some. The invariant of the pointer is that of ``Exchange``.
struct ReceivedTarget {
  private let start: UnsafeMutablePointer<UInt8>
  private let count: Int
  /// The byte that is NUL meanwhile, and where it is.
  private var hidden: (index: Int, byte: UInt8)?

  /// - Parameter text: the target in the buffer itself, where it is written to.
  init(hidingQueryOf text: UnsafePointer<CChar>) {
    count = strlen(text)
    start = UnsafeMutableRawPointer(mutating: text).bindMemory(to: UInt8.self, capacity: count)
    let mark = memchr(start, Int32(UInt8(ascii: "?")), count).map { UnsafeRawPointer($0) - UnsafeRawPointer(start) }
    if let mark, mark + 1 < count {
      hidden = (mark + 1, start[mark + 1])
      start[mark + 1] = 0
    }
  }

  /// The target as it came.
  func restored() -> HeadBytes {
    if let hidden {
      start[hidden.index] = hidden.byte
      start[hidden.index - 1] = UInt8(ascii: "?")
    }
    return HeadBytes(start: start, count: count)
  }
}

/// The requests whose line libmicrohttpd has read, and whose fields it has not handed out yet: hardly ever more than
/// those that come in pieces.
struct HeadsUnderWay {
  // Each is in here once at most, and takes itself out before it goes.
  private var clients: [Unmanaged<ClientConnection>] = []

  mutating func insert(_ client: ClientConnection) {
    guard client.placeAmongHeads == nil else { return }
    client.placeAmongHeads = clients.count
    clients.append(.passUnretained(client))
  }

  mutating func remove(_ client: ClientConnection) {
    guard let place = client.placeAmongHeads else { return }
    client.placeAmongHeads = nil
    let last = clients.removeLast()
    if place < clients.count {
      clients[place] = last
      last.takeUnretainedValue().placeAmongHeads = place
    }
  }

  /// The one whose head is whole: as libmicrohttpd hands that out at once, it is the one it is at work on. One that it
  /// has answered by itself, in the middle of the head, has a response until it is closed.
  var whole: ClientConnection? {
    clients.last {
      guard let connection = $0.takeUnretainedValue().connection else { return false }
      return has_whole_head(connection) && !has_response(connection)
    }?.takeUnretainedValue()
  }
}
