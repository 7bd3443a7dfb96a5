import TestSupport
import Testing

/// One client's watch: the answer to its creation, then the revisions of its events.
struct WatchReader: Sendable {
  let stream: JSONStream
  /// The store's revision as the watch began; events later than this one come.
  let createdRevision: Int

  /// Opens a watch and waits until it is created.
  /// - Parameter request: the members of the create request beside the key; the watch must start at the current or an
  ///   earlier revision.
  static func open(
    _ url: String, key: String = "a", _ request: JSON = [:], user: String? = nil, headers: [(String, String)] = [],
    in network: NetworkNamespace? = nil, receiveBuffer: Int32? = nil, joinsChunks: Bool = false
  ) async throws -> WatchReader {
    var create = request
    create["key"] = .string(key.base64)
    let body: JSON = ["create_request": create]
    let stream = try await JSONStream.open(
      url, "/v3/watch", body.description, user: user, headers: headers, in: network, receiveBuffer: receiveBuffer,
      joinsChunks: joinsChunks)
    let created = try #require(try await stream.next())
    try #require(created["created"] == true && created["canceled"] == nil, "\(created)")
    let revision = try #require(created["header"]?["revision"]?.string.flatMap { Int($0) }, "\(created)")
    return WatchReader(stream: stream, createdRevision: revision)
  }

  /// Opens many watches, up to fifty at a time.
  static func open(_ count: Int, _ open: @escaping @Sendable (Int) async throws -> WatchReader) async throws
    -> [WatchReader]
  {
    var readers: [WatchReader] = []
    for start in stride(from: 0, to: count, by: 50) {
      readers += try await withThrowingTaskGroup(of: WatchReader.self) { group in
        for index in start..<min(start + 50, count) { group.addTask { try await open(index) } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
    }
    return readers
  }

  /// The revisions of all events up to and including that one; progress notifications are skipped.
  /// - Throws: `TestSupportError` if the watch is canceled, fails or ends before.
  func revisions(through last: Int, timeout: Duration = suiteLimit) async throws -> [Int] {
    var revisions: [Int] = []
    while (revisions.last ?? 0) < last {
      guard let line = try await stream.nextLine(timeout: timeout) else {
        throw TestSupportError("the watch ended after \(revisions.count) events")
      }
      let found = eventRevisions(line)
      if found.isEmpty && line.count > 1 {
        let message = try JSON(parsing: line)
        guard let result = message["result"], result["canceled"] == nil, result["created"] == nil else {
          throw TestSupportError("\(message) came after \(revisions.count) events")
        }
      }
      revisions += found
    }
    return revisions
  }

  /// The revisions of a line's events, found without parsing it: tests read very many. Not for watches with `prev_kv`.
  private func eventRevisions(_ line: [UInt8]) -> [Int] {
    var revisions: [Int] = []
    var position = 0
    while let found = line.firstIndex(of: Self.mark, from: position) {
      position = found + Self.mark.count
      var number = 0
      while case let digit = line[position], digit != UInt8(ascii: "\"") {
        number = number * 10 + Int(digit - UInt8(ascii: "0"))
        position += 1
      }
      revisions.append(number)
    }
    return revisions
  }

  private static let mark = Array(#""mod_revision":""#.utf8)

  /// Waits until the watch is canceled, past all events.
  /// - Returns: the message of the cancellation.
  func canceled(timeout: Duration = suiteLimit) async throws -> JSON {
    while let result = try await stream.next(timeout: timeout) {
      if result["canceled"] == true { return result }
    }
    throw TestSupportError("the response ended, and nothing said that the watch is canceled")
  }
}
