import EtcdSchema
import HTTPServer

/// The paths (``ProtobufPushParser``) of what etcd's answers have that plain JSON tells.
enum AnswerPath {
  /// The header, which every answer has in the same place.
  static let header = Etcdserverpb_RangeResponse.Field.header
  /// The store's revision.
  static let revision = header << 4 | Etcdserverpb_ResponseHeader.Field.revision
}

/// The paths of what a `RangeResponse` has.
enum RangeResponsePath {
  static let header = AnswerPath.header
  static let revision = AnswerPath.revision
  static let keyValue = Etcdserverpb_RangeResponse.Field.kvs
  static let key = keyValue << 4 | Mvccpb_KeyValue.Field.key
  static let value = keyValue << 4 | Mvccpb_KeyValue.Field.value
  static let more = Etcdserverpb_RangeResponse.Field.more
  static let count = Etcdserverpb_RangeResponse.Field.count
  static let messages = [header, keyValue]
}

/// The paths of what a `TxnResponse` has; those of an operation are of what one of them alone would answer.
enum TxnResponsePath {
  private typealias Operation = Etcdserverpb_ResponseOp.Field

  static let succeeded = Etcdserverpb_TxnResponse.Field.succeeded
  static let operation = Etcdserverpb_TxnResponse.Field.responses
  static let range = operation << 4 | Operation.responseRange
  static let rangeKeyValue = range << 4 | RangeResponsePath.keyValue
  static let rangeMore = range << 4 | RangeResponsePath.more
  static let rangeCount = range << 4 | RangeResponsePath.count
  static let put = operation << 4 | Operation.responsePut
  static let putPrevious = put << 4 | Etcdserverpb_PutResponse.Field.prevKv
  static let deletion = operation << 4 | Operation.responseDeleteRange
  static let deletedCount = deletion << 4 | Etcdserverpb_DeleteRangeResponse.Field.deleted
  static let nested = operation << 4 | Operation.responseTxn
}

/// The paths of what the answers about leases have.
enum LeaseResponsePath {
  // A grant, a renewal and a look at a lease have these in the same place.
  static let id = Etcdserverpb_LeaseGrantResponse.Field.id
  static let ttl = Etcdserverpb_LeaseGrantResponse.Field.ttl
  static let grantedTTL = Etcdserverpb_LeaseTimeToLiveResponse.Field.grantedTTL
  static let key = Etcdserverpb_LeaseTimeToLiveResponse.Field.keys
  /// A lease of the list.
  static let listed = Etcdserverpb_LeaseLeasesResponse.Field.leases
  static let listedID = listed << 4 | Etcdserverpb_LeaseStatus.Field.id
}
