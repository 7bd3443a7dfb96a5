internal import CMicrohttpd
import Glibc

/// A request's target in libmicrohttpd's buffer. The query is hidden from libmicrohttpd.
///
/// While libmicrohttpd parses, the first byte of the query is NUL. Otherwise it would make an entry of each parameter,
/// without a limit, and 1.0.0 to 1.0.8 crash on some. The invariant of the pointer is that of ``Exchange``.
struct ReceivedTarget {
  private let start: UnsafeMutablePointer<UInt8>
  private let count: Int
  /// The byte that NUL replaces meanwhile, and its index.
  private var hidden: (index: Int, byte: UInt8)?

  /// - Parameter text: the target in libmicrohttpd's buffer itself, which is changed.
  init(hidingQueryOf text: UnsafePointer<CChar>) {
    count = strlen(text)
    start = UnsafeMutableRawPointer(mutating: text).bindMemory(to: UInt8.self, capacity: count)
    let mark = memchr(start, Int32(UInt8(ascii: "?")), count).map { UnsafeRawPointer($0) - UnsafeRawPointer(start) }
    if let mark, mark + 1 < count {
      hidden = (mark + 1, start[mark + 1])
      start[mark + 1] = 0
    }
  }

  /// The end of the request line, after a blank, the version, and CRLF.
  var lineEnd: UnsafeRawPointer { UnsafeRawPointer(start + count + " HTTP/1.1\r\n".utf8.count) }

  /// The target as it came.
  func restored() -> HeadBytes {
    if let hidden {
      start[hidden.index] = hidden.byte
      start[hidden.index - 1] = UInt8(ascii: "?")
    }
    return HeadBytes(start: start, count: count)
  }
}

/// The requests whose line libmicrohttpd has read, but whose fields it has not handed over yet: hardly ever others than
/// those that come in pieces.
struct HeadsUnderWay {
  // Each client is in here once at most, and is removed before it is released.
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

  /// The client whose head is whole. As libmicrohttpd hands a whole head over at once, this is the client that it is
  /// serving. A client that libmicrohttpd has answered by itself, in the middle of the head, has a response until its
  /// connection is closed.
  var whole: ClientConnection? {
    clients.last {
      guard let connection = $0.takeUnretainedValue().connection else { return false }
      return has_whole_head(connection) && !has_response(connection)
    }?.takeUnretainedValue()
  }
}
