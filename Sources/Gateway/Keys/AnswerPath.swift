import EtcdSchema
import HTTPServer

/// The paths (``ProtobufPushParser``) of the parts of etcd's answers that plain JSON has.
enum AnswerPath {
  /// The header, which has the same number in every answer.
  static let header = Etcdserverpb_RangeResponse.Field.header
  /// The store's revision.
  static let revision = header << 4 | Etcdserverpb_ResponseHeader.Field.revision
}

/// Paths within a `RangeResponse`.
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

/// Paths within a `TxnResponse`; those within an operation are the paths of its own response.
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

/// Paths within the answers about leases.
enum LeaseResponsePath {
  // Grants, renewals and queries of a lease have these fields with the same numbers.
  static let id = Etcdserverpb_LeaseGrantResponse.Field.id
  static let ttl = Etcdserverpb_LeaseGrantResponse.Field.ttl
  static let grantedTTL = Etcdserverpb_LeaseTimeToLiveResponse.Field.grantedTTL
  static let key = Etcdserverpb_LeaseTimeToLiveResponse.Field.keys
  /// A lease of the list.
  static let listed = Etcdserverpb_LeaseLeasesResponse.Field.leases
  static let listedID = listed << 4 | Etcdserverpb_LeaseStatus.Field.id
}
