internal import EtcdSchema
import ProtobufWire

/// The transactions of batched reads.
enum BatchRequest {
  /// It only reads, for any caller, and goes only to members that survive its cancellation (``TransactionProbe``).
  static let transaction = CallMethod(
    EtcdRPC.txn.traits, isRepeatable: true, userNeed: UserNeed.none, runsToEnd: false)
  static let range = EtcdRPC.range.method

  /// A `TxnRequest` without comparisons whose `success` has these `RangeRequest`s, in order.
  static func message(of reads: some Collection<Call>) -> CallMessage {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(reads.reduce(0) { $0 + $1.message.content.count + 8 })
    for read in reads {
      let request = read.message.content
      bytes.append(field: Etcdserverpb_TxnRequest.Field.success, ofCount: [UInt8].wireCount(ofField: request.count))
      bytes.append(field: Etcdserverpb_RequestOp.Field.requestRange, request)
    }
    return CallMessage(copying: bytes)
  }
}
