import ByteBuffers
import EtcdSchema
import GrpcBridge
import ProtobufWire

/// The keys of a range to read, and what to read of them: a `RangeRequest` (`etcdserverpb/kv.proto`).
struct KeySelection {
  enum Order: Int64 {
    /// The order of keys, which costs etcd nothing.
    case none = 0
    case ascending = 1
    case descending = 2
  }

  var range: KeyRange
  var revision: Int64 = 0
  var limit: Int64 = 0
  var isSerializable = false
  var keysOnly = false
  var countOnly = false
  var order = Order.none
  /// What to sort by: the number of the `SortTarget`.
  var target: Int64 = 0
  var minModRevision: Int64 = 0
  var maxModRevision: Int64 = 0
  var minCreateRevision: Int64 = 0
  var maxCreateRevision: Int64 = 0

  init(_ range: KeyRange) { self.range = range }

  init(_ request: KeyRequest) {
    let query = request.query
    range = request.range
    revision = query.integer(.revision) ?? 0
    isSerializable = query.flag(.serializable)
    keysOnly = query.flag(.keysOnly)
    minModRevision = query.integer(.minModRevision) ?? 0
    maxModRevision = query.integer(.maxModRevision) ?? 0
    minCreateRevision = query.integer(.minCreateRevision) ?? 0
    maxCreateRevision = query.integer(.maxCreateRevision) ?? 0
  }

  /// Sets the order by the words of ``QueryParameter/sort`` and ``QueryParameter/order``.
  mutating func sort(by word: String?, order direction: String?) {
    guard case .choice(let words) = QueryParameter.sort.kind else { return }
    // The words are in the order of the `SortTarget`s.
    target = Int64(words.firstIndex { $0 == word } ?? 0)
    if direction == "desc" {
      order = .descending
    } else if target != 0 {
      order = .ascending
    }
  }

  /// Continues after a key, in the order of keys.
  mutating func advance(behind key: [UInt8]) {
    range =
      order == .descending
      ? KeyRange(start: range.start, end: Bytes(key)) : KeyRange(start: Bytes(key + [0]), end: range.end)
  }

  /// Continues where a page ends.
  ///
  /// - Returns: how many of the selected keys the pages before had.
  mutating func advance(to place: PageCursor.Place) -> Int64 {
    switch place {
    case .behind(let key): advance(behind: key)
    case .from(let end, let skip):
      if !end.isEmpty {
        let isDescending = order == .descending
        range =
          isDescending ? KeyRange(start: range.start, end: Bytes(end)) : KeyRange(start: Bytes(end), end: range.end)
      }
      limit += skip
      return skip
    }
    return 0
  }

  /// Whether a key is within the bounds of revisions.
  func admits(_ key: borrowing KeyValueFields) -> Bool {
    key.modRevision >= minModRevision && key.createRevision >= minCreateRevision
      && (maxModRevision == 0 || key.modRevision <= maxModRevision)
      && (maxCreateRevision == 0 || key.createRevision <= maxCreateRevision)
  }

  /// The encoded request.
  ///
  /// - Parameter isBounded: whether etcd has to check the bounds of revisions. Then it goes through all keys of the
  ///   range, whatever the limit.
  func message(isBounded: Bool = true) -> ByteBuffer {
    var message = keyCallMessage(capacity: 96 + range.start.count + range.end.count)
    write(to: &message, isBounded: isBounded)
    return message
  }

  /// Appends the content of ``message(isBounded:)``.
  func write(to message: inout ByteBuffer, isBounded: Bool = true) {
    typealias Field = Etcdserverpb_RangeRequest.Field
    message.append(field: Field.key, range.start.array)
    if !range.end.isEmpty { message.append(field: Field.rangeEnd, range.end.array) }
    message.append(field: Field.limit, limit)
    message.append(field: Field.revision, revision)
    message.append(field: Field.sortOrder, order.rawValue)
    message.append(field: Field.sortTarget, target)
    message.append(field: Field.serializable, isSerializable)
    message.append(field: Field.keysOnly, keysOnly)
    message.append(field: Field.countOnly, countOnly)
    guard isBounded else { return }
    message.append(field: Field.minModRevision, minModRevision)
    message.append(field: Field.maxModRevision, maxModRevision)
    message.append(field: Field.minCreateRevision, minCreateRevision)
    message.append(field: Field.maxCreateRevision, maxCreateRevision)
  }
}

extension KeyRange {
  /// Appends the `DeleteRangeRequest` that deletes the keys.
  func writeDeletion(to message: inout ByteBuffer) {
    message.append(field: Etcdserverpb_DeleteRangeRequest.Field.key, start.array)
    if !end.isEmpty { message.append(field: Etcdserverpb_DeleteRangeRequest.Field.rangeEnd, end.array) }
  }
}
