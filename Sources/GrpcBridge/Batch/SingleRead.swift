internal import EtcdSchema
import ProtobufWire

/// A `RangeRequest` that may share a transaction with others (etcd's API, `KV.Range`).
///
/// It requests one key at the current revision. A read at a revision might fail the whole transaction, if the revision
/// has been compacted. Rare options are left out, because reads with them do not come in numbers.
struct SingleRead {
  /// Whether the answer may come from the member's own data, even if these are stale.
  let isSerializable: Bool
  /// A larger request, in bytes, goes alone, so that a batch stays well below the limit of etcd (`--max-request-bytes`,
  /// 1.5 MiB).
  private static let maxBytes = 2048

  /// - Parameter request: the message. The result is nil if it is to be sent alone.
  init?(_ request: UnsafeRawBufferPointer) {
    guard request.count > 2, request.count <= Self.maxBytes else { return nil }
    // Almost all requests have only a key.
    if request[0] == 0x0a, request[1] < 0x80, Int(request[1]) == request.count - 2 {
      isSerializable = false
      return
    }
    guard let isSerializable = try? Self.isSerializable(request) else { return nil }
    self.isSerializable = isSerializable
  }

  private static func isSerializable(_ request: UnsafeRawBufferPointer) throws(WireError) -> Bool? {
    typealias Field = Etcdserverpb_RangeRequest.Field
    var fields = ProtobufPullParser(request, in: 0..<request.count)
    var hasKey = false
    var isSerializable = false
    while let field = try fields.next() {
      switch field.number {
      case Field.key:
        guard !hasKey, !field.content.isEmpty else { return nil }
        hasKey = true
      case Field.serializable: isSerializable = field.value != 0
      case Field.limit, Field.keysOnly, Field.countOnly: break
      case Field.rangeEnd, Field.revision, Field.sortOrder, Field.sortTarget, Field.minModRevision,
        Field.maxModRevision, Field.minCreateRevision, Field.maxCreateRevision:
        // A default value counts as absent.
        guard field.content.isEmpty, field.value == 0 else { return nil }
      default: return nil
      }
    }
    return hasKey ? isSerializable : nil
  }
}
