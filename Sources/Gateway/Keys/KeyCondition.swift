import GrpcBridge
import Transcoding

/// What a key has to be for a request to change it.
enum KeyCondition {
  /// It is there.
  case exists
  /// It is not there.
  case isAbsent
  /// It is of this version; nil for one that no key ever is of.
  case isOf(revision: Int64?)

  /// Reads the conditions of a request that changes a key, each change one transaction.
  ///
  /// - Returns: nil where there are none.
  /// - Throws: ``RequestError`` where a transaction cannot have them.
  init?(_ head: RequestHead) throws(RequestError) {
    let ifMatch = try TagCondition(head.ifMatch, "If-Match")
    let ifNoneMatch = try TagCondition(head.ifNoneMatch, "If-None-Match")
    switch (ifMatch, ifNoneMatch) {
    case (nil, nil): return nil
    case (.any, nil): self = .exists
    case (.tags(let tags), nil):
      guard tags.count == 1 else {
        throw .badRequest("If-Match: a transaction of etcd's compares with one version: send one tag, or *")
      }
      self = .isOf(revision: tags[0].isWeak ? nil : tags[0].revision)
    case (nil, .any) where head.method == .put: self = .isAbsent
    case (nil, _) where head.method == .put:
      throw .badRequest("If-None-Match: with PUT it is * and nothing else: the key must not be there")
    case (nil, _): throw .badRequest("If-None-Match has no meaning with DELETE")
    default: throw .badRequest("If-Match and If-None-Match together are more than one condition")
    }
  }

  /// The transaction that applies `operation`, a `RequestOp`, where the key is as it has to be, and else says how it
  /// is.
  ///
  /// - Parameter operationCount: how large `operation` is, in bytes.
  func transaction(
    on key: [UInt8], operationCount: Int, operation: (inout ByteBuffer) -> Void
  ) -> ByteBuffer {
    var message = keyCallMessage(capacity: 64 + key.count * 2 + operationCount)
    // Compare: result, target, key, and what is compared with (`etcdserverpb/kv.proto`).
    let (result, target, field, value): (Int64, Int64, UInt8, Int64) =
      switch self {
      case .exists: (1, 1, 5, 0)
      case .isAbsent: (0, 1, 5, 0)
      // No key has a negative revision.
      case .isOf(let revision): (0, 2, 6, revision ?? -1)
      }
    var compare = ByteBuffer(capacity: 32 + key.count)
    compare.append(field: 1, result)
    compare.append(field: 2, target)
    compare.append(field: 3, key)
    // A member of a oneof is there even where it is zero.
    compare.append(field << 3)
    compare.append(varint: UInt64(bitPattern: value))
    compare.withUnsafeBytes { message.append(field: 1, $0) }
    message.append(field: 2, ofCount: operationCount)
    operation(&message)
    // RangeRequest: key and keys_only.
    var range = ByteBuffer(capacity: 16 + key.count)
    range.append(field: 1, key)
    range.append(field: 8, true)
    message.append(field: 3, ofCount: ByteBuffer.wireCount(ofField: range.count))
    range.withUnsafeBytes { message.append(field: 1, $0) }
    return message
  }
}
