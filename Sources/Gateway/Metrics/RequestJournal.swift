import EventLoop
import GrpcBridge
import HTTPServer

/// Is notified when requests begin and end: counts them, and has them logged and traced. Belongs to the shard's loop.
///
/// The counters are plain memory of the loop: no lock, and no allocation except for the first request of a route.
final class RequestJournal {
  /// How many different statuses a row of counters has; the last place is for all others.
  private static var statusCount: Int { 40 }
  private static let methodCount = HTTPMethod.allCases.count
  private static let transportCount = StreamTransport.allCases.count

  /// The log of requests; nil for none.
  let log: AccessLog?
  /// Makes spans of requests; nil for none.
  let tracer: Tracer?
  private let templates: [String]
  private var requests = CounterRows(width: RequestJournal.statusCount + Durations.width)
  private var streams = CounterRows(width: StreamRecord.Counter.allCases.count)
  private var requestBytes: UInt64 = 0
  private var responseBytes: UInt64 = 0
  private var cutCount: UInt64 = 0

  /// - Parameters:
  ///   - templates: the routes' (``RouteTable/templates``).
  ///   - log: the log of requests.
  ///   - tracer: makes spans of requests.
  init(templates: [String], log: AccessLog?, tracer: Tracer?) {
    self.templates = templates
    self.log = log
    self.tracer = tracer
  }

  /// The head of a request has come.
  func begins(_ exchange: Exchange) {
    let context = exchange.head.traceContext
    guard tracer != nil || log != nil || context != nil else { return }
    let trace = tracer?.trace(context) ?? CallTrace(context)
    exchange.context = trace
    exchange.traceParent = trace.parent
  }

  /// A request has ended: its answer was given to the system, or its connection was taken over.
  ///
  /// - Parameter isCut: whether the answer broke off.
  func ended(_ exchange: Exchange, isCut: Bool) {
    let record = exchange.record
    let end = preciseTime
    let duration = end &- record.start
    let status = record.status == 0 ? Self.clientLeft : record.status
    // If a client tries all methods at all paths, it makes only one row for each path.
    let method = record.isMethodOfRoute ? exchange.head.method : .other
    let row = requests.row(record.route * Self.methodCount + method.rawValue)
    row[Self.place(of: status)] &+= 1
    Durations.count(duration, in: row + Self.statusCount)
    requestBytes &+= exchange.bytesReceived
    responseBytes &+= UInt64(record.bytesSent)
    if isCut { cutCount &+= 1 }
    log?.ended(exchange, status: status, duration: duration, isCut: isCut, route: templates[record.route])
    tracer?.ended(exchange, at: end, route: templates[record.route])
  }

  /// Hands over the log lines and spans of this turn of the loop.
  func flush() {
    log?.flush()
    tracer?.flush()
  }

  /// The status for a request whose client disconnected before it was answered, as in nginx.
  private static let clientLeft: UInt32 = 499

  // MARK: - Streams

  /// A stream begins; it is open as long as the returned object lives.
  func streamBegins(_ exchange: Exchange, _ transport: StreamTransport) -> StreamRecord {
    exchange.record.transport = transport
    let row = exchange.record.route * Self.transportCount + transport.rawValue
    let route = templates[exchange.record.route]
    var span = tracer == nil ? nil : RequestSpan(exchange, route: route)
    // The answer is about to be sent.
    span?.status = transport == .websocket ? 101 : 200
    return StreamRecord(
      journal: self, counters: streams.row(row), entry: log?.streamEntry(of: exchange, route: route), span: span)
  }

  // MARK: - Metrics

  func add(to samples: inout MetricSamples) {
    for (index, counters) in requests.all {
      let route = templates[index / Self.methodCount]
      let method = HTTPMethod(rawValue: index % Self.methodCount)?.name ?? ""
      for (place, count) in counters.prefix(Self.statusCount).enumerated() where count > 0 {
        let status = place < Self.statuses.count ? "\(Self.statuses[place])" : "other"
        samples.add(.requests, ["route": route, "method": method, "status": status], count)
      }
      samples.add(
        .requestDuration, ["route": route, "method": method], Durations(counters[Self.statusCount...]))
    }
    samples.add(.requestBytes, requestBytes)
    samples.add(.responseBytes, responseBytes)
    samples.add(.cutAnswers, cutCount)
    for (index, counters) in streams.all {
      let transport = StreamTransport(rawValue: index % Self.transportCount).map { "\($0)" } ?? ""
      let labels: MetricSamples.Labels = ["route": templates[index / Self.transportCount], "transport": transport]
      let opened = counters[StreamRecord.Counter.opened.rawValue]
      samples.add(.openedStreams, labels, opened)
      samples.add(.streams, labels, opened &- counters[StreamRecord.Counter.closed.rawValue])
      samples.add(.streamMessages, labels, counters[StreamRecord.Counter.messages.rawValue])
    }
  }

  // MARK: - Statuses

  /// The statuses that are counted separately.
  private static let statuses: [UInt32] = [
    101, 200, 201, 204, 206, 304, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417,
    421, 422, 428, 429, 431, 499, 500, 501, 502, 503, 504, 505, 507,
  ]

  /// The place of a status in a row.
  private static func place(of status: UInt32) -> Int {
    status == 200 ? 1 : statuses.firstIndex(of: status) ?? statusCount - 1
  }
}
