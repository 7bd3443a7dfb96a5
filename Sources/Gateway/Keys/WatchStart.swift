import GrpcBridge
import HTTPServer

/// Where a watch of keys begins: after all events of a revision, and maybe some of the next one.
///
/// As text it is the `id` of a Server-Sent Event: `42` stands for all events up to revision 42, `42-3` for all before
/// that revision and the first three of it, which happen together in one transaction.
struct WatchStart {
  /// Nothing up to this revision is wanted; nil for what happens from now on.
  let revision: Int64?
  /// How many events of the next revision are not wanted either.
  let skipped: Int
  /// Whether the client says that it was here before.
  let isReturn: Bool

  /// - Parameters:
  ///   - since: what the query says.
  ///   - id: the `Last-Event-ID` header, which counts for more: a browser that comes back asks for what it has asked
  ///     for before, and says beside it how far it got.
  /// - Throws: ``RequestError`` if that is none.
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

  /// The first revision of which events are wanted, as etcd takes it: 0 for what happens from now on.
  var firstRevision: Int64 { revision.map { $0 == .max ? $0 : $0 + 1 } ?? 0 }
}

extension KeyRange {
  /// - Throws: ``RequestError`` if there can be no keys in the range, which etcd does not watch.
  func checkWatchable() throws(RequestError) {
    if !end.isEmpty && end != [0] && end <= start { throw .badRequest("there are no keys from 'from' up to 'to'") }
  }
}
