import ByteBuffers
import GrpcBridge
import HTTPServer
import Transcoding

/// The end of a page, at which the next one continues: opaque to clients, and understood by every gateway.
///
/// It must fit into the head of a request, whatever the keys are. If the last key of a page is too long, the cursor has
/// an end of a range of keys instead, and how many keys of that range have come.
struct PageCursor {
  private static let headCount = 1 + 3 * 8
  /// The parameters that may differ between pages.
  private static let free: Set<QueryParameter> = [.cursor, .limit]
  /// Far more keys than etcd can have.
  private static let maxSkip: UInt64 = 1 << 40

  /// The beginning of the next page. The number is a cursor's first byte.
  enum Place: Equatable {
    /// (1) After this key.
    case behind([UInt8])
    /// (2) At this end of a range, after so many keys; empty for the end of the query's own range.
    case from([UInt8], skip: Int64)
  }

  /// The revision of all pages.
  let revision: Int64
  /// How many keys the whole range has.
  let count: Int64
  let place: Place

  init(revision: Int64, count: Int64, place: Place) {
    self.revision = revision
    self.count = count
    self.place = place
  }

  /// Reads the cursor of a request; nil if it has none.
  ///
  /// - Throws: ``RequestError`` if it is malformed, or belongs to another query.
  init?(of request: KeyRequest) throws(RequestError) {
    guard let text = request.query.text(.cursor) else { return nil }
    let bytes = [UInt8](unsafeUninitializedCapacity: text.utf8.count) { target, count in
      count =
        Array(text.utf8).withUnsafeBufferPointer { Base64.decode($0, into: UnsafeMutableRawBufferPointer(target)) } ?? 0
    }
    func number(_ index: Int) -> UInt64 {
      bytes[(1 + index * 8)..<(9 + index * 8)].reduce(0) { $0 << 8 | UInt64($1) }
    }
    let isOfKey = bytes.count > Self.headCount && bytes[0] == 1
    guard isOfKey || bytes.count >= Self.headCount + 8 && bytes[0] == 2 else {
      throw .badRequest("cursor: not a cursor returned by an earlier response")
    }
    revision = Int64(bitPattern: number(0))
    count = Int64(bitPattern: number(1))
    let rest = Array(bytes[(isOfKey ? Self.headCount : Self.headCount + 8)...])
    place = isOfKey ? .behind(rest) : .from(rest, skip: Int64(min(number(3), Self.maxSkip)))
    guard number(2) == request.query.digest(without: Self.free), revision > 0,
      !isOfKey && rest.isEmpty || request.range.contains(Bytes(rest))
    else { throw .badRequest("cursor: it was returned for a query with other parameters") }
  }

  /// The cursor as text.
  func text(for query: KeyQuery) -> String {
    let (format, rest, skip): (UInt8, [UInt8], [UInt64]) =
      switch place {
      case .behind(let key): (1, key, [])
      case .from(let end, let skip): (2, end, [UInt64(bitPattern: skip)])
      }
    var bytes = [format]
    for number in [UInt64(bitPattern: revision), UInt64(bitPattern: count), query.digest(without: Self.free)] + skip {
      withUnsafeBytes(of: number.bigEndian) { bytes += $0 }
    }
    return Base64.urlText(bytes + rest)
  }
}

/// Finds out where the next page begins, from the keys of a page as they come.
struct PageEnd {
  /// The longest key that a cursor has whole, in bytes: it must fit, in base64, into a target that proxies accept.
  static let maxKey = 2048

  /// The beginning of the last key, and whether it is the whole key.
  private var start: [UInt8] = []
  private var isWhole = true
  /// If it is not: how many keys up to the last one have that beginning.
  private var run: Int64 = 0

  /// Takes the next key.
  mutating func note(_ key: UnsafeRawBufferPointer) {
    let known = UnsafeRawBufferPointer(rebasing: key.prefix(Self.maxKey))
    let goesOn = known.count == Self.maxKey && start.elementsEqual(known)
    run = goesOn ? run + 1 : 1
    isWhole = key.count <= Self.maxKey
    guard !goesOn else { return }
    start.removeAll(keepingCapacity: true)
    start.append(contentsOf: known)
  }

  /// The beginning of the next page.
  ///
  /// - Parameters:
  ///   - range: the requested range, of which all keys up to the last one were taken.
  ///   - whole: the range of the query.
  func next(in range: KeyRange, of whole: KeyRange, isDescending: Bool) -> PageCursor.Place {
    guard !isWhole else { return .behind(start) }
    // The keys with this beginning may start nearer to the last key than this page did: then all of them up to the last
    // key have come.
    let beginners = KeyRange.prefix(Bytes(start))
    let noEnd: Bytes = [0]
    let end: Bytes
    if isDescending {
      let isNearer = beginners.end != noEnd && (range.end == noEnd || beginners.end < range.end)
      end = isNearer ? beginners.end : range.end
    } else {
      end = max(beginners.start, range.start)
    }
    return .from(end == (isDescending ? whole.end : whole.start) ? [] : end.array, skip: run)
  }
}
