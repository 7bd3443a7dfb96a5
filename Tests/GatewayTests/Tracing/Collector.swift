import EventLoop
import Foundation
import Synchronization
import TLS
import TestSupport

/// An OpenTelemetry collector for a test: an HTTP server on loopback that keeps what it receives, and answers as the
/// test decides.
///
/// Each connection has a thread, and one request.
final class Collector: Sendable {
  enum Answer: Sendable {
    case status(Int, headers: [String] = [], body: String = "{}")
    /// No answer until the collector stops.
    case silence
    /// A valid answer that never ends.
    case endless
    /// These bytes, and the end of the connection.
    case bytes(String)

    static let good = Answer.status(200)
  }

  struct Request: Sendable {
    let head: String
    let body: [UInt8]
  }

  private struct State {
    var requests: [Request] = []
    var isStopped = false
  }

  /// The spans of exports that were answered with success.
  private struct Taken {
    var spans: [CollectedSpan] = []
  }

  let port: UInt16
  private let listener: Int32
  private let tls: TLSContext?
  private let answer: @Sendable (Int) -> Answer
  private let state = Mutex(State())
  private let taken = Mutex(Taken())

  var url: String { "\(tls == nil ? "http" : "https")://127.0.0.1:\(port)" }

  /// - Parameter answer: decides by the number of the request, from 0 on.
  init(tls: TLSContext? = nil, port: UInt16 = 0, _ answer: @escaping @Sendable (Int) -> Answer = { _ in .good }) throws
  {
    self.tls = tls
    self.answer = answer
    (listener, self.port) = try boundSocket(port: port, type: Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue))
    let listener = listener
    guard listen(listener, 128) == 0 else { throw TestSupportError("no socket for a collector: errno \(errno)") }
    Thread { [weak self] in
      while true {
        let connection = accept(listener, nil, nil)
        guard connection >= 0, let collector = self else { return }
        Thread { collector.serve(connection) }.start()
      }
    }.start()
  }

  deinit { close(listener) }

  /// Accepts no more connections, and answers no more requests.
  func stop() {
    state.withLock { $0.isStopped = true }
    shutdown(listener, Int32(SHUT_RDWR))
  }

  private var isStopped: Bool { state.withLock { $0.isStopped } }

  var requests: [Request] { state.withLock { $0.requests } }

  /// The spans of exports that were accepted.
  var spans: [CollectedSpan] { taken.withLock { $0.spans } }

  /// Waits for spans for which `isWanted` is true.
  func spans(_ count: Int, where isWanted: (CollectedSpan) -> Bool = { _ in true }) async throws -> [CollectedSpan] {
    try await eventually("\(count) spans; there are \(spans)") {
      let found = spans.filter(isWanted)
      return found.count >= count ? found : nil
    }
  }

  private func serve(_ descriptor: Int32) {
    defer { close(descriptor) }
    let wire = CollectorWire(descriptor, tls)
    guard let request = wire.request() else { return }
    let number = state.withLock { state in
      state.requests.append(request)
      return state.requests.count - 1
    }
    switch answer(number) {
    case .status(let status, let headers, let body):
      if status == 200 {
        let spans = (try? CollectedSpan.all(in: request.body)) ?? []
        taken.withLock { $0.spans += spans }
      }
      let lines = headers.map { "\($0)\r\n" }.joined()
      wire.send("HTTP/1.1 \(status) Whatever\r\n\(lines)Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
    case .bytes(let text): wire.send(text)
    case .silence: while !isStopped { usleep(10_000) }
    case .endless:
      wire.send("HTTP/1.1 200 OK\r\n\r\n")
      while !isStopped, wire.send(String(repeating: " ", count: 4096)) {}
    }
  }
}

/// The bytes of one connection, blocking.
private final class CollectorWire {
  private let descriptor: Int32
  private let session: TLSSession?

  init(_ descriptor: Int32, _ tls: TLSContext?) {
    self.descriptor = descriptor
    session = tls.map { TLSSession(server: $0, descriptor: descriptor) }
  }

  private func wait(_ events: Int32) {
    var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
    poll(&entry, 1, 1000)
  }

  private func read(into buffer: inout [UInt8]) -> Int {
    guard let session else { return recv(descriptor, &buffer, buffer.count, 0) }
    while true {
      switch buffer.withUnsafeMutableBytes({ session.read(into: $0) }) {
      case .bytes(let count): return count
      case .wantsReadable: wait(POLLIN)
      case .wantsWritable: wait(POLLOUT)
      case .closed, .failed: return 0
      }
    }
  }

  @discardableResult
  func send(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    var sent = 0
    while sent < bytes.count {
      let rest = bytes[sent...]
      if let session {
        switch rest.withUnsafeBytes({ session.write($0) }) {
        case .bytes(let count): sent += count
        case .wantsReadable: wait(POLLIN)
        case .wantsWritable: wait(POLLOUT)
        case .closed, .failed: return false
        }
      } else {
        let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, SocketConstants.noSignal) }
        guard count > 0 else { return false }
        sent += count
      }
    }
    return true
  }

  /// Reads a request with a `Content-Length`; nil if none comes.
  func request() -> Collector.Request? {
    if let session {
      handshake: while true {
        switch session.handshake() {
        case .done: break handshake
        case .wantsReadable: wait(POLLIN)
        case .wantsWritable: wait(POLLOUT)
        case .failed: return nil
        }
      }
    }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      if let end = bytes.firstIndex(of: Array("\r\n\r\n".utf8)) {
        let head = String(decoding: bytes[..<end], as: UTF8.self)
        let length = head.lowercased().firstMatch(of: /content-length: (\d+)/).flatMap { Int($0.1) } ?? 0
        if bytes.count >= end + 4 + length {
          return Collector.Request(head: head, body: Array(bytes[(end + 4)..<(end + 4 + length)]))
        }
      }
      let count = read(into: &buffer)
      guard count > 0 else { return nil }
      bytes += buffer[..<count]
    }
  }
}

/// A span as a collector sees it.
struct CollectedSpan: Sendable {
  let trace: String
  let id: String
  let parent: String?
  let name: String
  /// 2 for a server's, 3 for a client's.
  let kind: Double
  let start: Int64
  let end: Int64
  let isError: Bool
  let attributes: [String: String]
  let resource: [String: String]

  /// The spans of an `ExportTraceServiceRequest` in JSON.
  static func all(in body: [UInt8]) throws -> [CollectedSpan] {
    try (JSON(parsing: body)["resourceSpans"]?.array ?? []).flatMap { group in
      let resource = attributes(group["resource"]?["attributes"])
      let spans = (group["scopeSpans"]?.array ?? []).flatMap { scope in scope["spans"]?.array ?? [] }
      return spans.map { CollectedSpan($0, resource: resource) }
    }
  }

  private init(_ json: JSON, resource: [String: String]) {
    func text(_ name: String) -> String { json[name]?.string ?? "" }
    trace = text("traceId")
    id = text("spanId")
    parent = json["parentSpanId"]?.string
    name = text("name")
    kind = json["kind"]?.number ?? 0
    start = Int64(text("startTimeUnixNano")) ?? 0
    end = Int64(text("endTimeUnixNano")) ?? 0
    isError = json["status"]?["code"]?.number == 2
    attributes = Self.attributes(json["attributes"])
    self.resource = resource
  }

  private static func attributes(_ list: JSON?) -> [String: String] {
    let pairs = (list?.array ?? []).map { pair in
      let value = pair["value"]
      // Each name once: a second one would trap.
      return (pair["key"]?.string ?? "", value?["stringValue"]?.string ?? value?["intValue"]?.string ?? "?")
    }
    return Dictionary(uniqueKeysWithValues: pairs)
  }
}
