import GrpcBridge
import Transcoding

/// Which keys of a range are read, and what of them: a `RangeRequest` (`etcdserverpb/kv.proto`).
struct KeySelection {
  enum Order: Int64 {
    /// That of the keys, which costs etcd nothing.
    case none = 0
    case ascending = 1
    case descending = 2
  }

  var range: KeyRange
  var revision: Int64
  var limit: Int64 = 0
  var isSerializable: Bool
  var keysOnly: Bool
  var countOnly = false
  var order = Order.none
  /// What the order is of: the number of the `SortTarget`.
  var target: Int64 = 0
  var minModRevision: Int64
  var maxModRevision: Int64
  var minCreateRevision: Int64
  var maxCreateRevision: Int64

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

  /// Goes on behind a key, in the order of keys.
  mutating func advance(behind key: [UInt8]) {
    range =
      order == .descending
      ? KeyRange(start: range.start, end: Bytes(key)) : KeyRange(start: Bytes(key + [0]), end: range.end)
  }

  /// Whether a key is among those that the bounds of revisions leave.
  func admits(_ key: borrowing KeyValueFields) -> Bool {
    key.modRevision >= minModRevision && key.createRevision >= minCreateRevision
      && (maxModRevision == 0 || key.modRevision <= maxModRevision)
      && (maxCreateRevision == 0 || key.createRevision <= maxCreateRevision)
  }

  /// The request.
  ///
  /// - Parameter isBounded: whether etcd is to look at the bounds of revisions. It looks at all keys of the range then,
  ///   whatever the limit.
  func message(isBounded: Bool = true) -> ByteBuffer {
    var message = keyCallMessage(capacity: 96 + range.start.count + range.end.count)
    message.append(field: 1, range.start.array)
    if !range.end.isEmpty { message.append(field: 2, range.end.array) }
    message.append(field: 3, limit)
    message.append(field: 4, revision)
    message.append(field: 5, order.rawValue)
    message.append(field: 6, target)
    message.append(field: 7, isSerializable)
    message.append(field: 8, keysOnly)
    message.append(field: 9, countOnly)
    guard isBounded else { return message }
    message.append(field: 10, minModRevision)
    message.append(field: 11, maxModRevision)
    message.append(field: 12, minCreateRevision)
    message.append(field: 13, maxCreateRevision)
    return message
  }
}

/// The paths of what a `RangeResponse` has.
enum RangeResponsePath {
  static let header = 0x1
  static let revision = 0x13
  static let keyValue = 0x2
  static let key = 0x21
  static let value = 0x25
  static let more = 0x3
  static let count = 0x4
  static let messages = [header, keyValue]
}
