/// A run of keys in etcd's order, byte by byte: one key, those with a prefix, those from one key to another, or all.
///
/// Follows the etcd documentation, "etcd API", "Key ranges".
public struct KeyRange: Sendable, Hashable {
  /// The first key; the only one if ``end`` is empty.
  public let start: Bytes
  /// The key after the last one; empty for ``start`` alone, and a zero byte for no end.
  public let end: Bytes

  private static let zero: Bytes = [0]

  /// Makes a range from etcd's `key` and `range_end`.
  public init(start: Bytes, end: Bytes) {
    self.start = start
    self.end = end
  }

  /// One key.
  public static func key(_ key: Bytes) -> KeyRange { KeyRange(start: key, end: []) }

  /// The keys that begin with `prefix`; all if it is empty.
  public static func prefix(_ prefix: Bytes) -> KeyRange {
    guard !prefix.isEmpty else { return all }
    // The first key behind the prefix: the last byte that is not 0xff is one larger, and nothing follows it. If all
    // bytes are 0xff there is no such key.
    guard let last = prefix.lastIndex(where: { $0 < 0xff }) else { return KeyRange(start: prefix, end: zero) }
    var end = Bytes(prefix.array[...last])
    end[last] += 1
    return KeyRange(start: prefix, end: end)
  }

  /// `key` and all keys after it.
  public static func from(_ key: Bytes) -> KeyRange { KeyRange(start: key.isEmpty ? zero : key, end: zero) }

  /// The keys from `start` on that come before `end`: none if `end` is not after `start`.
  public static func from(_ start: Bytes, upTo end: Bytes) -> KeyRange {
    let first = start.isEmpty ? zero : start
    return first < end ? KeyRange(start: first, end: end) : none
  }

  /// No key: etcd takes two equal bounds for that, except zero bytes.
  private static let none = KeyRange(start: [1], end: [1])

  /// All keys.
  public static let all = KeyRange(start: zero, end: zero)

  /// Whether the range has this key.
  public func contains(_ key: Bytes) -> Bool {
    if end.isEmpty { return key == start }
    return key >= start && (end == Self.zero || key < end) && !key.isEmpty
  }
}
