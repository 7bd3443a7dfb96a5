import GrpcBridge
import Transcoding

/// What etcd answers to a change of keys: to a `Put` or `DeleteRange` alone, or to a transaction with one of them.
struct KeyChange: ~Copyable {
  /// The messages that such answers are made of: header, responses, and the key-value messages in them.
  private static let alone = [0x1, 0x2]
  private static let inTransaction = [0x1, 0x3, 0x31, 0x312, 0x32, 0x322, 0x33]

  private let isTransaction: Bool
  private var events: ProtobufPushParser
  /// The store's revision with the change in it.
  private(set) var revision: Int64 = 0
  /// How many keys were deleted.
  private(set) var deletedCount: Int64 = 0
  /// Whether the key was as it had to be.
  private(set) var hasSucceeded: Bool
  /// What was there before, where it was asked for and there was something; of a transaction that has failed, what is
  /// there.
  var found = KeyValueFields()
  private(set) var isFound = false

  init(length: Int, isTransaction: Bool) {
    self.isTransaction = isTransaction
    hasSucceeded = !isTransaction
    events = ProtobufPushParser(length: length, messages: isTransaction ? Self.inTransaction : Self.alone)
  }

  mutating func take(_ bytes: UnsafeRawBufferPointer) {
    var input = bytes
    while let event = events.next(&input) { take(event) }
  }

  /// - Throws: where the answer is not what it should be.
  func finish() throws(ProtobufPushParser.Malformed) { try events.finish() }

  private mutating func take(_ event: ProtobufPushParser.Event) {
    switch (event, isTransaction) {
    case (.number(path: 0x13, let number), _): revision = Int64(bitPattern: number)
    case (.number(path: 0x2, let number), true): hasSucceeded = number != 0
    case (.number(path: 0x2, let number), false), (.number(path: 0x332, let number), true):
      deletedCount = Int64(bitPattern: number)
    case (.end(path: 0x2), false), (.end(path: 0x312), true), (.end(path: 0x322), true): isFound = true
    case (_, false): found.take(event, ofMessageAt: 0x2)
    case (_, true):
      found.take(event, ofMessageAt: 0x312)
      found.take(event, ofMessageAt: 0x322)
    }
  }
}

extension KeyHandler {
  /// Answers that the key is not as it would have to be, and how it is.
  func respond(conflicting change: borrowing KeyChange) {
    var headers: HTTPResponse.Headers = [("X-Etcd-Revision", "\(change.revision)"), ("Cache-Control", "no-cache")]
    if change.isFound { headers.append(("ETag", EntityTag.text(change.found.modRevision))) }
    let message = change.isFound ? "the key is of version \(change.found.modRevision)" : "the key is not there"
    exchange.respond(.error(412, .failedPrecondition, message, headers: headers))
  }
}
