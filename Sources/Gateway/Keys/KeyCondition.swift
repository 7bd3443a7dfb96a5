import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire

/// The condition for a change of a key.
enum KeyCondition {
  /// The key exists.
  case exists
  /// The key does not exist.
  case isAbsent
  /// The key has this version; nil for a version that no key ever has.
  case isOf(revision: Int64?)

  /// Reads the conditions of a request that changes a key. The change becomes one transaction.
  ///
  /// - Returns: nil if there are none.
  /// - Throws: ``RequestError`` if a transaction cannot express them.
  init?(_ head: borrowing RequestHead) throws(RequestError) {
    let ifMatch = try TagCondition(head.ifMatch, "If-Match")
    let ifNoneMatch = try TagCondition(head.ifNoneMatch, "If-None-Match")
    switch (ifMatch, ifNoneMatch) {
    case (nil, nil): return nil
    case (.any, nil): self = .exists
    case (.tags(let tags), nil):
      guard tags.count == 1 else {
        throw .badRequest("If-Match: expected one tag, or *: etcd compares with one mod_revision")
      }
      self = .isOf(revision: tags[0].isWeak ? nil : tags[0].revision)
    case (nil, .any) where head.method == .put: self = .isAbsent
    case (nil, _) where head.method == .put:
      throw .badRequest("If-None-Match: expected * with PUT, for a key that must not exist")
    case (nil, _): throw .badRequest("If-None-Match has no meaning with DELETE")
    default: throw .badRequest("If-Match and If-None-Match are two conditions: send one of them")
    }
  }

  /// The transaction that applies `operation`, a `RequestOp`, if the condition holds, and otherwise reads the key.
  ///
  /// - Parameter operationCount: how large `operation` is, in bytes.
  func transaction(
    on key: [UInt8], operationCount: Int, operation: (inout ByteBuffer) -> Void
  ) -> ByteBuffer {
    var message = keyCallMessage(capacity: 64 + key.count * 2 + operationCount)
    comparison(of: key).write(to: &message)
    message.append(field: Etcdserverpb_TxnRequest.Field.success, ofCount: operationCount)
    operation(&message)
    var range = ByteBuffer(capacity: 16 + key.count)
    range.append(field: Etcdserverpb_RangeRequest.Field.key, key)
    range.append(field: Etcdserverpb_RangeRequest.Field.keysOnly, true)
    message.append(
      field: Etcdserverpb_TxnRequest.Field.failure, ofCount: ByteBuffer.wireCount(ofField: range.count))
    range.withUnsafeBytes { message.append(field: Etcdserverpb_RequestOp.Field.requestRange, $0) }
    return message
  }

  private func comparison(of key: [UInt8]) -> KeyComparison {
    switch self {
    case .exists: KeyComparison(key: key, relation: .greater, subject: .createRevision(0))
    case .isAbsent: KeyComparison(key: key, relation: .equal, subject: .createRevision(0))
    // No key has a negative revision.
    case .isOf(let revision): KeyComparison(key: key, relation: .equal, subject: .modRevision(revision ?? -1))
    }
  }
}

/// A condition of a transaction on a key: a `Compare` (`etcdserverpb/kv.proto`).
struct KeyComparison {
  /// The values are those of `CompareResult`.
  enum Relation: Int64 {
    case equal = 0
    case greater = 1
    case less = 2
    case notEqual = 3
  }

  /// The property of the key, and the value to compare it with.
  enum Subject {
    case version(Int64)
    case createRevision(Int64)
    case modRevision(Int64)
    case value([UInt8])
    case lease(Int64)
  }

  let key: [UInt8]
  let relation: Relation
  let subject: Subject

  /// Appends it as one of the comparisons of a `TxnRequest`.
  func write(to message: inout ByteBuffer) {
    typealias Field = Etcdserverpb_Compare.Field
    // The number of the target, and the number and value of the field to compare with.
    let (target, field, number): (Etcdserverpb_Compare.CompareTarget, Int, Int64) =
      switch subject {
      case .version(let number): (.version, Field.version, number)
      case .createRevision(let number): (.create, Field.createRevision, number)
      case .modRevision(let number): (.mod, Field.modRevision, number)
      case .value: (.value, Field.value, 0)
      case .lease(let number): (.lease, Field.lease, number)
      }
    var compare = ByteBuffer(capacity: 32 + key.count)
    compare.append(field: Field.result, relation.rawValue)
    compare.append(field: Field.target, Int64(target.rawValue))
    compare.append(field: Field.key, key)
    if case .value(let value) = subject {
      compare.append(field: field, value)
    } else {
      // A member of a oneof must be written even if it is zero.
      compare.append(field: field, zeroOr: number)
    }
    compare.withUnsafeBytes { message.append(field: Etcdserverpb_TxnRequest.Field.compare, $0) }
  }
}

extension RequestHead {
  /// - Throws: ``RequestError`` if it has conditions, which would be ignored.
  func checkHasNoConditions() throws(RequestError) {
    guard ifMatch.isEmpty && ifNoneMatch.isEmpty else {
      throw .badRequest(
        "If-Match and If-None-Match are for GET, PUT and DELETE of keys: a body in JSON has its own conditions")
    }
  }
}
