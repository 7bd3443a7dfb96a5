import GrpcBridge
import HTTPServer

/// The start of a watch of keys: after all events of a revision, and maybe some of the next one.
///
/// As text it is the `id` of a Server-Sent Event: `42` means all events up to revision 42; `42-3` means all before that
/// revision and its first three, which belong to one transaction.
struct WatchStart {
  /// Events up to this revision are not wanted; nil to begin at the current one.
  let revision: Int64?
  /// How many events of the next revision are not wanted either.
  let skipped: Int
  /// Whether the client says that it reconnects.
  let isReturn: Bool

  /// - Parameters:
  ///   - since: the value in the query.
  ///   - id: the `Last-Event-ID` header, which takes precedence: a browser that reconnects repeats its first query, and
  ///     adds how far it got.
  /// - Throws: ``RequestError`` if it is malformed.
  init(since: Int64?, lastEventID id: HeadBytes?) throws(RequestError) {
    guard let id, !id.isEmpty else {
      (revision, skipped, isReturn) = (since, 0, false)
      return
    }
    let parts = String(decoding: id, as: UTF8.self).split(separator: "-", omittingEmptySubsequences: false)
    let numbers = parts.compactMap { part in
      part.utf8.allSatisfy(\.isDigit) ? Int64(part) : nil
    }
    guard numbers.count == parts.count, numbers.count == 1 || numbers.count == 2 && numbers[0] > 0 else {
      throw .badRequest("Last-Event-ID: expected the id of an event, such as 42 or 42-3")
    }
    revision = numbers.count == 1 ? numbers[0] : numbers[0] - 1
    skipped = numbers.count == 1 ? 0 : Int(numbers[1])
    isReturn = true
  }

  /// The first revision whose events are wanted, as in etcd's request: 0 for the current one.
  var firstRevision: Int64 { revision.map { $0 == .max ? $0 : $0 + 1 } ?? 0 }
}

extension KeyRange {
  /// - Throws: ``RequestError`` if the range can have no keys, which etcd does not watch.
  func checkWatchable() throws(RequestError) {
    if !end.isEmpty && end != [0] && end <= start { throw .badRequest("there are no keys from 'from' up to 'to'") }
  }
}
