import ByteBuffers
import EventLoop
import GrpcBridge
import HTTPServer
import ProtobufWire

/// Logs a line for each request that the level selects, and for the beginning and the end of each stream. Belongs to a
/// shard's loop.
///
/// No line has a password, a token, a query or anything of a body. It has the path, and with it the names of keys.
final class AccessLog {
  /// Which requests are logged.
  enum Level: String, Sendable {
    case off
    /// Requests with a status from 400 on, and those whose answer was cut off.
    case errors
    /// These, and slow requests.
    case slow
    case all
  }

  struct Configuration: Sendable {
    var level = Level.off
    /// From how many nanoseconds on a request is slow.
    var slow: UInt64 = 500_000_000
    var format = LogFormat.text

    /// Whether a request is logged.
    ///
    /// - Parameter duration: in nanoseconds.
    func wants(status: UInt32, duration: UInt64, isCut: Bool) -> Bool {
      switch level {
      case .off: false
      case .errors: status >= 400 || isCut
      case .slow: status >= 400 || isCut || duration >= slow
      case .all: true
      }
    }

    /// Whether the end of a stream is logged.
    func wants(_ end: GRPCCode) -> Bool {
      switch level {
      case .off: false
      case .errors, .slow: end != .ok && end != .canceled
      case .all: true
      }
    }
  }

  /// At most so many bytes wait for a turn's end.
  private static let maxWaiting = 64 << 10

  private let configuration: Configuration
  private let writer: LogWriter
  private var waiting = ByteBuffer()
  private var lineCount = 0
  private var clock = LogClock()

  /// Nil if nothing is to be logged.
  init?(_ configuration: Configuration, to writer: LogWriter = .standardError) {
    guard configuration.level != .off else { return nil }
    self.configuration = configuration
    self.writer = writer
  }

  /// A request is over, or has become a stream.
  func ended(_ exchange: Exchange, status: UInt32, duration: UInt64, isCut: Bool, route: String) {
    guard configuration.wants(status: status, duration: duration, isCut: isCut) else { return }
    let record = exchange.record
    var line = LogLine(
      configuration.format, at: clock.text, .info, record.transport == nil ? "request" : "stream opened")
    RequestEntry(exchange, route: route).add(to: &line)
    line.add("status", status)
    if let code = record.errorCode.flatMap(GRPCCode.init) ?? (status < 400 ? .ok : nil) { line.add("code", code.label) }
    line.add("seconds", nanoseconds: duration)
    if let trace = exchange.trace, let endpoint = trace.endpoint {
      line.add("etcd_seconds", nanoseconds: trace.time)
      line.add("endpoint", endpoint.authority)
    }
    line.add("bytes_in", exchange.bytesReceived)
    if let transport = record.transport {
      line.add("transport", "\(transport)")
    } else {
      line.add("bytes_out", record.bytesSent)
    }
    if isCut { line.add("cut", true) }
    append(line.end())
  }

  /// The log entry for a stream that begins.
  func streamEntry(of exchange: Exchange, route: String) -> StreamEntry {
    StreamEntry(RequestEntry(exchange, route: route), start: exchange.record.start)
  }

  /// A stream is over.
  func closed(_ entry: StreamEntry) {
    let code = entry.end ?? GRPCCode.canceled
    guard configuration.wants(code) else { return }
    var line = LogLine(configuration.format, at: clock.text, .info, "stream closed")
    entry.request.add(to: &line)
    line.add("code", code.label)
    line.add("seconds", nanoseconds: preciseTime &- entry.start)
    line.add("messages_in", entry.received)
    line.add("messages_out", entry.messages)
    line.add("bytes_out", entry.bytes)
    append(line.end())
  }

  private func append(_ line: consuming ByteBuffer) {
    if waiting.count + line.count > Self.maxWaiting { flush() }
    line.withUnsafeBytes { waiting.append($0) }
    lineCount += 1
  }

  /// Hands over the lines of this turn of the loop.
  func flush() {
    guard lineCount > 0 else { return }
    writer.append(waiting, count: lineCount)
    lineCount = 0
    waiting.removeAll(keepingCapacity: true)
  }
}

/// The logged properties of a request as the client has made it.
struct RequestEntry {
  /// How much of a path and of a user's name is logged, in bytes.
  private static let longest = 1024

  private let id: String
  private let traceID: String?
  private let method: HTTPMethod
  private let route: String
  private let path: String
  private let peer: IPAddress?
  private let user: String?

  init(_ exchange: Exchange, route: String) {
    id = exchange.id.text
    traceID = exchange.trace?.context?.traceID
    method = exchange.head.method
    self.route = route
    path = Self.text(exchange.head.path)
    peer = exchange.clientAddress
    user = RequestCredentials.basicCredentials(exchange.head.authorization).map { Self.text($0.user.utf8) }
  }

  func add(to line: inout LogLine) {
    line.add("request_id", id)
    if let traceID { line.add("trace_id", traceID) }
    line.add("method", method.name)
    line.add("route", route)
    if !path.isEmpty { line.add("path", path) }
    line.add("peer", peer?.description ?? "unix")
    if let user { line.add("user", user) }
  }

  private static func text(_ bytes: some Collection<UInt8>) -> String {
    let text = String(decoding: bytes.prefix(longest), as: UTF8.self)
    return bytes.count > longest ? text + "…" : text
  }
}

/// The logged properties of a stream at its end.
final class StreamEntry {
  let request: RequestEntry
  /// When the request came, by `preciseTime`.
  let start: UInt64
  var received = 0
  private(set) var messages = 0
  private(set) var bytes = 0
  private(set) var end: GRPCCode?

  init(_ request: RequestEntry, start: UInt64) {
    self.request = request
    self.start = start
  }

  func hasSent(messages: Int, bytes: Int) {
    self.messages &+= messages
    self.bytes &+= bytes
  }

  func ends(_ code: GRPCCode) { end = end ?? code }
}
