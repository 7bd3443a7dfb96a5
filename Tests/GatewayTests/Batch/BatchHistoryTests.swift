import Foundation
import Synchronization
import TestSupport
import Testing

/// Batched reads are linearizable whichever member dies.
@Suite(.timeLimit(.minutes(15)))
struct BatchHistoryTests {
  private static let timers = ["--heartbeat-interval", "50", "--election-timeout", "500"]
  private static let writers = 3
  private static let readers = 24

  /// The clients' knowledge of the counters that they write and read.
  ///
  /// A counter is one key, written by one client, with a larger number each time. A write that was not acknowledged may
  /// still be executed later, so that its counter is left for another one.
  private final class History: Sendable {
    struct Counter {
      var key: String
      /// The largest number that was acknowledged, or that a read has returned.
      var known = 0
      var written = 0
    }

    private struct State {
      var counters: [Counter]
      var reads = 0
      var errors = 0
      var violations: [String] = []
      var isOver = false
    }

    private let state: Mutex<State>

    init(_ count: Int) { state = Mutex(State(counters: (0..<count).map { Counter(key: "c/\($0)/0") })) }

    var isOver: Bool { state.withLock(\.isOver) }
    var reads: Int { state.withLock(\.reads) }
    var violations: [String] { state.withLock(\.violations) }

    func end() { state.withLock { $0.isOver = true } }
    func counter(_ number: Int) -> Counter { state.withLock { $0.counters[number] } }

    func beginWrite(_ number: Int) -> Counter {
      state.withLock {
        $0.counters[number].written += 1
        return $0.counters[number]
      }
    }

    func endWrite(_ number: Int, _ counter: Counter, isAcknowledged: Bool) {
      state.withLock {
        if isAcknowledged {
          $0.counters[number].known = max($0.counters[number].known, counter.written)
        } else {
          $0.errors += 1
          $0.counters[number] = Counter(key: "c/\(number)/\($0.errors)")
        }
      }
    }

    /// - Parameter counter: the counter when the read began.
    func endRead(_ number: Int, _ counter: Counter, _ value: Int) {
      state.withLock {
        $0.reads += 1
        if value < counter.known { $0.violations.append("\(counter.key): \(value) after \(counter.known)") }
        if $0.counters[number].key == counter.key {
          $0.counters[number].known = max($0.counters[number].known, value)
          if value > $0.counters[number].written {
            $0.violations.append("\(counter.key): \(value) before it was written")
          }
        }
      }
    }
  }

  /// A read that starts after a put was acknowledged, or after another read has returned it, sees it.
  @Test(arguments: EtcdVersion.allCases)
  func noReadIsOlderThanWhatWasKnown(_ version: EtcdVersion) async throws {
    try await withEtcdCluster(version, members: 3, Self.timers) { members in
      let flags = ["--shards", "1", "--keepalive-time", "6s", "--keepalive-timeout", "2s"]
      try await withGateway(members.map(\.url), flags) { gateway in
        let history = History(Self.writers)
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in 0..<Self.writers { group.addTask { try await Self.write(number, history, gateway.url) } }
          for number in 0..<Self.readers {
            group.addTask { try await Self.read(number % Self.writers, history, gateway.url) }
          }
          defer { history.end() }
          for member in members {
            try await Self.awaitReads(200, history)
            await member.kill()
            try await Self.awaitReads(200, history)
            try await member.start()
            member.pause()
            try await Self.awaitReads(200, history)
            member.resume()
            try await member.awaitHealth()
          }
          try await Self.awaitReads(200, history)
        }
        #expect(history.violations == [])
        var transactions = 0
        for member in members { transactions += try await member.callsStarted(of: "Txn") }
        #expect(transactions > 10, "\(transactions) transactions for \(history.reads) reads")
      }
    }
  }

  private static func awaitReads(_ count: Int, _ history: History) async throws {
    let before = history.reads
    _ = try await eventually("\(count) more reads") { history.reads >= before + count ? true : nil }
  }

  private static func write(_ number: Int, _ history: History, _ url: String) async throws {
    try await repeatCalls(history, url) { connection in
      let counter = history.beginWrite(number)
      var isAcknowledged = false
      defer { history.endWrite(number, counter, isAcknowledged: isAcknowledged) }
      let put: JSON = ["key": .string(counter.key.base64), "value": .string("\(counter.written)".base64)]
      isAcknowledged = try await connection.post("/v3/kv/put", put).status == 200
    }
  }

  private static func read(_ number: Int, _ history: History, _ url: String) async throws {
    try await repeatCalls(history, url) { connection in
      let counter = history.counter(number)
      let response = try await connection.post("/v3/kv/range", ["key": .string(counter.key.base64)])
      guard response.status == 200 else { return }
      let value = try response.json["kvs"]?.array?.first?["value"]?.string
      let text = value.flatMap { Data(base64Encoded: $0) }.map { String(decoding: $0, as: UTF8.self) }
      history.endRead(number, counter, text.flatMap { Int($0) } ?? 0)
    }
  }

  private static func repeatCalls(
    _ history: History, _ url: String, _ call: (HTTPConnection) async throws -> Void
  ) async throws {
    var connection: HTTPConnection?
    while !history.isOver {
      do {
        let open = if let connection { connection } else { try await HTTPConnection.connect(to: url) }
        connection = open
        try await call(open)
      } catch is HTTPFailure {
        connection = nil
      }
    }
  }
}
