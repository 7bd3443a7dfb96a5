import GrpcBridge
import Transcoding

/// Where a page ends, for the next one to go on there: opaque to clients, and understood by every gateway.
struct PageCursor {
  private static let format: UInt8 = 1
  private static let headCount = 1 + 3 * 8
  /// What may be another with each page.
  private static let free: Set<QueryParameter> = [.cursor, .limit]

  /// The revision of all pages.
  let revision: Int64
  /// How many keys the whole range has.
  let count: Int64
  /// The last key of the page.
  let lastKey: [UInt8]

  init(revision: Int64, count: Int64, lastKey: [UInt8]) {
    self.revision = revision
    self.count = count
    self.lastKey = lastKey
  }

  /// Reads the cursor of a request; nil where it has none.
  ///
  /// - Throws: ``RequestError`` where it is none, or that of another query.
  init?(of request: KeyRequest) throws(RequestError) {
    guard let text = request.query.text(.cursor) else { return nil }
    let bytes = [UInt8](unsafeUninitializedCapacity: text.utf8.count) { target, count in
      count =
        Array(text.utf8).withUnsafeBufferPointer { Base64.decode($0, into: UnsafeMutableRawBufferPointer(target)) } ?? 0
    }
    func number(_ index: Int) -> UInt64 {
      bytes[(1 + index * 8)..<(9 + index * 8)].reduce(0) { $0 << 8 | UInt64($1) }
    }
    guard bytes.count > Self.headCount, bytes[0] == Self.format else {
      throw .badRequest("cursor: it is none that an answer has had")
    }
    revision = Int64(bitPattern: number(0))
    count = Int64(bitPattern: number(1))
    lastKey = Array(bytes[Self.headCount...])
    guard number(2) == request.query.digest(without: Self.free), revision > 0, request.range.contains(Bytes(lastKey))
    else { throw .badRequest("cursor: it belongs to a query with other parameters") }
  }

  /// The cursor as text.
  func text(for query: KeyQuery) -> String {
    var bytes = [Self.format]
    for number in [UInt64(bitPattern: revision), UInt64(bitPattern: count), query.digest(without: Self.free)] {
      withUnsafeBytes(of: number.bigEndian) { bytes += $0 }
    }
    return Base64.urlText(bytes + lastKey)
  }
}
