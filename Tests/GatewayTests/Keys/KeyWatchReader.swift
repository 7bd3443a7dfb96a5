import Foundation
import TestSupport

/// The two forms of a watch of keys.
enum WatchForm: String, CaseIterable {
  case lines = "application/x-ndjson"
  case events = "text/event-stream"
}

/// One message of a watch of keys.
struct KeyNews: Sendable, Equatable {
  /// The event's name, or the document's `type`; `error` for an error.
  var type: String
  /// The event's `id`; lines have none.
  var id: String?
  var data: JSON

  /// The revision of a change, or of progress.
  var revision: Int? { (data["mod_revision"] ?? data["revision"])?.number.map { Int($0) } }
  var isChange: Bool { type == "put" || type == "delete" }
  /// `a/1@5`, for comparing.
  var mark: String { "\(String(decoding: data.bytes("key") ?? [], as: UTF8.self))@\(revision ?? 0)" }
}

/// One client's watch of keys, read strictly: each chunk has to be one line, or one event (HTML Standard, section
/// 9.2.6).
actor KeyWatchReader {
  nonisolated let connection: HTTPConnection
  private let form: WatchForm
  private let isChunked: Bool
  private var receivedHead: HTTPHead?
  private var rest = Data()
  /// How many comments have come so far.
  private(set) var comments = 0
  /// After how many milliseconds to reconnect.
  private(set) var retry: Int?

  private init(_ connection: HTTPConnection, as form: WatchForm, isChunked: Bool) {
    self.connection = connection
    self.form = form
    self.isChunked = isChunked
  }

  /// Connects and sends the request; the response is for the calls below.
  /// - Parameters:
  ///   - target: path and query.
  ///   - isOld: whether the client only knows HTTP/1.0.
  static func open(
    _ url: String, _ target: String, as form: WatchForm, user: String? = nil, lastEventID: String? = nil,
    headers: [(String, String)] = [], receiveBuffer: Int32? = nil, isOld: Bool = false
  ) async throws -> KeyWatchReader {
    let connection = try await HTTPConnection.connect(to: url)
    if let receiveBuffer { await connection.setReceiveBuffer(bytes: receiveBuffer) }
    let more = [("Accept", form.rawValue)] + (lastEventID.map { [("Last-Event-ID", $0)] } ?? []) + headers
    if isOld {
      let lines = more.map { "\($0): \($1)\r\n" }.joined()
      try await connection.send("GET \(target) HTTP/1.0\r\nHost: x\r\n\(lines)\r\n")
    } else {
      try await connection.sendRequest("GET", target, headers: more + basic(user))
    }
    return KeyWatchReader(connection, as: form, isChunked: !isOld)
  }

  func head(timeout: Duration = suiteLimit) async throws -> HTTPHead {
    if let receivedHead { return receivedHead }
    let head = try await connection.receiveHead(timeout: timeout)
    receivedHead = head
    return head
  }

  /// The whole response, if it is expected to end by itself.
  func response() async throws -> HTTPResponse {
    let head = try await head()
    var body: [UInt8] = []
    while let part = try await connection.receivePart() { body += part }
    return HTTPResponse(head: head, body: body)
  }

  /// The next message; nil at the proper end of the response.
  /// - Throws: `HTTPFailure.closed` or `.reset` for a response that was cut, `.malformed` for an invalid one.
  func next(timeout: Duration = suiteLimit) async throws -> KeyNews? {
    let deadline = ContinuousClock.now + timeout
    let head = try await head(timeout: timeout)
    guard head.status == 200 else { throw HTTPFailure.malformed("status \(head.status) is no watch") }
    while let piece = try await piece(deadline) {
      if let news = try form == .lines ? line(piece) : event(piece) { return news }
    }
    return nil
  }

  /// The next put or deletion, past all progress.
  func nextChange(timeout: Duration = suiteLimit) async throws -> KeyNews {
    let deadline = ContinuousClock.now + timeout
    while let news = try await next(timeout: deadline - .now) {
      if news.isChange { return news }
      guard news.type == "progress" else { throw TestSupportError("\(news) came instead of a change") }
    }
    throw TestSupportError("the watch has ended")
  }

  /// All changes up to and including those of that revision, as with `Last-Event-ID`; for lines, up to `count` of it.
  func changes(through revision: Int, count: Int = 1, timeout: Duration = suiteLimit) async throws -> [KeyNews] {
    var changes: [KeyNews] = []
    while changes.filter({ $0.revision == revision }).count < count {
      changes.append(try await nextChange(timeout: timeout))
    }
    return changes
  }

  func close() async { await connection.close() }

  // MARK: The two forms

  /// A line without its line feed, or an event without its empty line.
  private func piece(_ deadline: ContinuousClock.Instant) async throws -> String? {
    let end = Data(form == .lines ? [10] : [10, 10])
    while true {
      if let found = rest.range(of: end) {
        let piece = String(decoding: rest[..<found.lowerBound], as: UTF8.self)
        rest = Data(rest[found.upperBound...])
        guard rest.isEmpty || !isChunked else { throw HTTPFailure.malformed("a chunk has more than \(piece)") }
        return piece
      }
      guard rest.isEmpty || !isChunked else { throw HTTPFailure.malformed("a chunk is no whole line or event") }
      guard let part = try await connection.receivePart(timeout: deadline - .now) else {
        guard rest.isEmpty else { throw HTTPFailure.closed }
        return nil
      }
      rest += part
    }
  }

  private func line(_ text: String) throws -> KeyNews? {
    let data = try JSON(parsing: Array(text.utf8))
    return KeyNews(type: data["type"]?.string ?? (data["error"] != nil ? "error" : ""), id: nil, data: data)
  }

  private func event(_ text: String) throws -> KeyNews? {
    var fields: [String: String] = [:]
    for line in text.components(separatedBy: "\n") {
      let parts = line.components(separatedBy: ": ")
      let (name, value) = (parts[0], parts.dropFirst().joined(separator: ": "))
      guard fields[name] == nil else { throw HTTPFailure.malformed("\(name) twice in \(text)") }
      fields[name] = value
    }
    if let retry = fields["retry"] { self.retry = Int(retry) }
    guard let data = fields["data"] else {
      guard fields.keys.elementsEqual([""]) else { throw HTTPFailure.malformed("an event without data: \(text)") }
      comments += 1
      return nil
    }
    let json = try JSON(parsing: Array(data.utf8))
    let type = fields["event"] ?? "message"
    guard type == "error" || json["type"]?.string == type else { throw HTTPFailure.malformed("\(type) of \(data)") }
    return KeyNews(type: type, id: fields["id"], data: json)
  }
}

/// A client that reconnects whenever its watch ends, as a browser does: no change comes twice, and none is left out.
actor ReturningReader {
  private let url: String
  private let target: String
  private let form: WatchForm
  private let user: String?
  private var lastID: String?
  private var seen: [KeyNews] = []
  /// How often it has reconnected.
  private(set) var returns = 0

  init(_ url: String, _ target: String, as form: WatchForm, user: String? = nil) {
    (self.url, self.target, self.form, self.user) = (url, target, form, user)
  }

  /// Everything up to the change of a key of that name.
  /// - Parameter patience: disconnects by itself after at most so many changes, in the middle of transactions, too.
  func changes(upTo key: String, patience: Int = .max, seed: UInt64 = 1) async throws -> [KeyNews] {
    var generator = SeededGenerator(seed: seed)
    while true {
      try Task.checkCancellation()
      do {
        let reader = try await KeyWatchReader.open(url, target, as: form, user: user, lastEventID: lastID)
        var left = patience == .max ? .max : Int.random(in: 1...patience, using: &generator)
        if try await reader.head().status == 200 {
          while left > 0, let news = try await reader.next() {
            take(news)
            if news.isChange { left -= 1 }
            if news.isChange, news.data.bytes("key") == Array(key.utf8) { return seen }
            if news.type == "compacted" { throw TestSupportError("\(news) after \(seen.count) changes") }
          }
        }
        await reader.close()
      } catch is HTTPFailure {}
      returns += 1
      try await Task.sleep(for: .milliseconds(patience == .max ? 50 : 1))
    }
  }

  private func take(_ news: KeyNews) {
    if news.isChange { seen.append(news) }
    guard form == .lines else {
      if let id = news.id { lastID = id }
      return
    }
    // A reader of lines counts.
    guard let revision = news.revision else { return }
    lastID = news.isChange ? "\(revision)-\(seen.count { $0.revision == revision })" : lastID ?? "\(revision)"
  }
}
