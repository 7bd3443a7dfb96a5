internal import EtcdSchema
import ProtobufWire

/// A `RangeRequest` that may share its way to etcd with others (etcd's API, `KV.Range`).
///
/// It asks for one key as it is now. With a revision it might have been compacted, which fails a transaction as a
/// whole. Options beyond those of common reads do not come in numbers.
struct SingleRead {
  /// Whether the answer may be of the member's own data, be it stale.
  let isSerializable: Bool
  /// A larger request, in bytes, travels alone, so that a batch stays well below what etcd takes
  /// (`--max-request-bytes`, 1.5 MiB).
  private static let maxBytes = 2048

  /// - Parameter request: the message. nil if it is to be sent alone.
  init?(_ request: UnsafeRawBufferPointer) {
    guard request.count > 2, request.count <= Self.maxBytes else { return nil }
    // Almost all are a key and nothing else.
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
        // As good as not given.
        guard field.content.isEmpty, field.value == 0 else { return nil }
      default: return nil
      }
    }
    return hasKey ? isSerializable : nil
  }
}
