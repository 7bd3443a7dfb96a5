import ByteBuffers
import EventLoop
import Glibc
import GrpcBridge
import Logging
import TLS

/// Exports spans in batches, one request each (OpenTelemetry protocol, "OTLP/HTTP"). Belongs to the exporter's loop.
///
/// If the collector does not take a batch now, it is sent again, after growing pauses, up to ``maxAttempts`` times. New
/// spans wait meanwhile in the queue, which has a limit.
final class SpanSender {
  /// How long spans wait until there are enough for a batch, in milliseconds.
  private static let interval: UInt64 = 2000
  /// How long an export may take, in milliseconds (the default of `OTEL_EXPORTER_OTLP_TIMEOUT`).
  private static let timeout: UInt64 = 10_000
  private static let maxAttempts = 5
  /// The longest pause that a collector may demand, in seconds.
  private static let maxRetryAfter = 60
  /// How large an answer may be, in bytes.
  private static let maxAnswer = 64 << 10

  /// Spans that are being sent.
  private struct Batch {
    let body: [UInt8]
    let count: Int
    var attempts = 0
  }

  private let settings: TracingSettings
  /// Further header lines of each export, each with its line end.
  var headers: String
  private let queue: SpanQueue
  private let loop: EventLoop
  private let logger: Logger
  private let instance: String
  private var batch: Batch?
  private var request: OutgoingRequest?
  private var pauses = Backoff(first: 1000, most: 30_000, factor: 2)
  /// Until when, by the loop's clock, nothing is sent to the collector.
  private var pauseEnd: UInt64 = 0
  /// Whether a failure was reported, and no success since.
  private var isTroubled = false
  /// Called when nothing is left to do; set when the exporter is ending.
  private var completion: (() -> Void)?
  private lazy var ticks = LoopTimer(loop: loop) { [unowned self] in export() }
  private lazy var retry = LoopTimer(loop: loop) { [unowned self] in send() }
  private lazy var end = LoopTimer(loop: loop) { [unowned self] in giveUp() }

  init(_ settings: TracingSettings, queue: SpanQueue, loop: EventLoop, logger: Logger) {
    self.settings = settings
    headers = settings.headers
    self.queue = queue
    self.loop = loop
    self.logger = logger
    instance = Self.randomUUID()
  }

  func start() { ticks.start(after: Self.interval, every: Self.interval) }

  func stop() {
    ticks.stop()
    retry.stop()
    end.stop()
    request?.cancel()
    request = nil
  }

  /// Exports waiting spans, unless an export is under way.
  func export() {
    guard batch == nil, loop.now >= pauseEnd || completion != nil else { return }
    let spans = queue.take()
    guard !spans.isEmpty else { return endIfAsked() }
    let encoder = SpanEncoder(epoch: Self.epoch, instance: instance)
    batch = Batch(body: encoder.encode(spans).withUnsafeBytes { Array($0) }, count: spans.count)
    send()
  }

  /// Exports everything that is left within so many milliseconds; what is refused once is dropped.
  func finish(within limit: UInt64, _ completion: @escaping () -> Void) {
    ticks.stop()
    self.completion = completion
    end.start(after: limit)
    guard batch != nil else { return export() }
    // If an export is under way, this one waits for it.
    if request == nil { send() }
  }

  private func endIfAsked() {
    guard let completion = completion.take() else { return }
    stop()
    completion()
  }

  private func giveUp() {
    drop()
    endIfAsked()
  }

  /// Drops what is left.
  private func drop() {
    var count = batch?.count ?? 0
    batch = nil
    while case let spans = queue.take(), !spans.isEmpty { count += spans.count }
    guard count > 0 else { return }
    queue.count { $0.unsent &+= UInt64(count) }
    logger.warning("spans were not exported before the end", metadata: ["spans": "\(count)"])
  }

  // MARK: - An export

  private func send() {
    guard let batch, request == nil else { return }
    retry.stop()
    self.batch?.attempts += 1
    var bytes = ByteBuffer(capacity: batch.body.count + 512)
    bytes.append(
      """
      POST \(settings.collector.path) HTTP/1.1\r
      Host: \(settings.collector.authority)\r
      Content-Type: application/json\r
      Content-Length: \(batch.body.count)\r
      User-Agent: etcd-rest/\(EtcdRest.version)\r
      Connection: close\r
      \(headers)\r

      """.utf8)
    bytes.append(batch.body)
    let request = OutgoingRequest(
      to: settings.collector.endpoint, secure: secure, maxAnswer: Self.maxAnswer, loop: loop
    ) { [unowned self] result in
      self.request = nil
      settle(result)
    }
    self.request = request
    request.start(bytes, timeout: Self.timeout)
  }

  private var secure: OutgoingRequest.Secure? {
    guard let tls = settings.tls else { return nil }
    let endpoint = settings.collector.endpoint
    return {
      TLSSession(
        client: tls.current, descriptor: $0, serverName: endpoint.host, peer: endpoint.authority,
        offersProtocols: false)
    }
  }

  private func settle(_ result: Result<OutgoingAnswer, OutgoingRequest.Failure>) {
    switch result {
    case .success(let answer) where (200...299).contains(answer.status): succeeded(answer)
    case .success(let answer):
      // The specification's list ("Retryable Response Codes").
      let mayRepeat = [429, 502, 503, 504].contains(answer.status)
      failed("status \(answer.status)", mayRepeat: mayRepeat, after: Self.retryAfter(answer))
    case .failure(let failure): failed(failure.description, mayRepeat: true, after: nil)
    }
  }

  private func succeeded(_ answer: OutgoingAnswer) {
    guard let count = batch?.count else { return }
    let refusal = ExportRefusal(answer.body)
    let rejected = min(count, max(0, refusal.rejected))
    queue.count { counts in
      counts.doneExports &+= 1
      counts.rejected &+= UInt64(rejected)
      counts.exported &+= UInt64(count - rejected)
    }
    if rejected > 0 { report("\(rejected) of \(count) spans were rejected: \(refusal.reason)") } else { recovered() }
    pauses.reset()
    batch = nil
    if queue.isFull || completion != nil { export() }
  }

  private func failed(_ reason: String, mayRepeat: Bool, after pause: UInt64?) {
    queue.count { $0.failedExports &+= 1 }
    report(reason)
    if completion != nil { return giveUp() }
    guard let failed = batch else { return }
    let wait = max(pauses.wait(), pause ?? 0)
    pauseEnd = loop.now + wait
    if mayRepeat && failed.attempts < Self.maxAttempts { return retry.start(after: wait) }
    batch = nil
    queue.count { counts in
      if mayRepeat { counts.unsent &+= UInt64(failed.count) } else { counts.rejected &+= UInt64(failed.count) }
    }
  }

  /// The pause that the collector demands, in milliseconds, up to the longest accepted one (RFC 9110, section 10.2.3: a
  /// number of seconds; a date is ignored).
  private static func retryAfter(_ answer: OutgoingAnswer) -> UInt64? {
    guard let text = answer["retry-after"], let seconds = OutgoingAnswer.decimal(text.utf8) else { return nil }
    return UInt64(min(seconds, maxRetryAfter)) * 1000
  }

  // MARK: - Messages for users

  /// Reports once that exports fail, until one succeeds.
  private func report(_ reason: String) {
    logger.log(
      level: isTroubled ? .debug : .warning, "spans cannot be exported; look whether a collector takes OTLP/HTTP there",
      metadata: ["collector": "\(settings.collector)", "reason": "\(reason)"])
    isTroubled = true
  }

  private func recovered() {
    guard isTroubled else { return }
    isTroubled = false
    logger.notice("spans are exported again", metadata: ["collector": "\(settings.collector)"])
  }

  // MARK: - The process

  /// The difference between Unix time and `preciseTime`, in nanoseconds.
  private static var epoch: UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return UInt64(bitPattern: Int64(now.tv_sec &* 1_000_000_000 &+ now.tv_nsec)) &- preciseTime
  }

  /// A UUID of version 4 (RFC 9562, section 5.4).
  private static func randomUUID() -> String {
    let high = UInt64.random(in: 0...(.max)) & ~0xF000 | 0x4000
    let low = UInt64.random(in: 0...(.max)) & ~(0b11 << 62) | 1 << 63
    var digits = TraceID(high: high, low: low).text[...]
    return [8, 4, 4, 4, 12].map { count in
      defer { digits = digits.dropFirst(count) }
      return String(digits.prefix(count))
    }.joined(separator: "-")
  }
}
