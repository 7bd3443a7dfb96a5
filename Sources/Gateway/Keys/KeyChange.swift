import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire

/// etcd's answer to a change of keys: to a `Put` or `DeleteRange` alone, or to a transaction with one of them.
struct KeyChange: ~Copyable {
  /// The messages within such answers: header, responses, and their key-value messages.
  private static let alone = [AnswerPath.header, previous]
  private static let inTransaction = [
    AnswerPath.header, TxnResponsePath.operation, TxnResponsePath.range, TxnResponsePath.rangeKeyValue,
    TxnResponsePath.put, TxnResponsePath.putPrevious, TxnResponsePath.deletion,
  ]
  // This number is a message in a `PutResponse`, but a number in a `DeleteRangeResponse`.
  private static let previous = Etcdserverpb_PutResponse.Field.prevKv
  private static let deleted = Etcdserverpb_DeleteRangeResponse.Field.deleted

  private let isTransaction: Bool
  private var events: ProtobufPushParser
  /// The store's revision after the change.
  private(set) var revision: Int64 = 0
  /// How many keys were deleted.
  private(set) var deletedCount: Int64 = 0
  /// Whether the condition held.
  private(set) var hasSucceeded: Bool
  /// The previous key, if it was requested and existed; if the condition failed, the present key without its value.
  var found: KeyValueFields
  private(set) var isFound = false

  /// - Parameter memory: counts the bytes that are kept.
  init(length: Int, isTransaction: Bool, _ memory: MemoryAccount) {
    self.isTransaction = isTransaction
    found = KeyValueFields(memory)
    hasSucceeded = !isTransaction
    events = ProtobufPushParser(length: length, messages: isTransaction ? Self.inTransaction : Self.alone)
  }

  mutating func take(_ bytes: UnsafeRawBufferPointer) {
    var input = bytes
    while let event = events.next(&input) { take(event) }
  }

  /// - Throws: `WireError` if the answer is malformed.
  func finish() throws(WireError) { try events.finish() }

  private mutating func take(_ event: ProtobufPushParser.Event) {
    switch (event, isTransaction) {
    case (.number(path: AnswerPath.revision, let number), _): revision = Int64(bitPattern: number)
    case (.number(path: TxnResponsePath.succeeded, let number), true): hasSucceeded = number != 0
    case (.number(path: Self.deleted, let number), false),
      (.number(path: TxnResponsePath.deletedCount, let number), true):
      deletedCount = Int64(bitPattern: number)
    case (.end(path: Self.previous), false), (.end(path: TxnResponsePath.rangeKeyValue), true),
      (.end(path: TxnResponsePath.putPrevious), true):
      isFound = true
    // Of the present key only the version is answered.
    case (.bytes(let path, _), true) where path >> 4 == TxnResponsePath.rangeKeyValue: break
    case (_, false): found.take(event, ofMessageAt: Self.previous)
    case (_, true):
      found.take(event, ofMessageAt: TxnResponsePath.rangeKeyValue)
      found.take(event, ofMessageAt: TxnResponsePath.putPrevious)
    }
  }
}

extension KeyHandler {
  /// Answers that the condition failed, with the key's present version.
  func respond(conflicting change: borrowing KeyChange) {
    var headers: HTTPResponse.Headers = [("X-Etcd-Revision", "\(change.revision)"), ("Cache-Control", "no-cache")]
    if change.isFound { headers.append(("ETag", EntityTag.text(change.found.modRevision))) }
    let message = change.isFound ? "the key has mod_revision \(change.found.modRevision)" : "the key does not exist"
    exchange.respond(.error(412, .failedPrecondition, message, headers: headers))
  }
}
