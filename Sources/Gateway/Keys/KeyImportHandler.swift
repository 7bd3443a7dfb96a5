import ByteBuffers
import EventLoop
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Puts the keys of a body of lines, each line like the body of a `POST /keys`: an export's lines, or any others.
///
/// The lines go to etcd in transactions of puts, several of them at once. The effect is that of putting them one after
/// the other: if a batch has a key of an earlier batch, it waits until that one has ended. While batches wait, so does
/// the client: the body is never whole in memory, and may have any size.
///
/// The first line that cannot be put stops the import, or is skipped with `skip_errors`. When the answer comes, all
/// lines before it were put; of those after it only some that were at etcd already.
///
/// If the answer takes longer than a second, it begins then, and a line each second reports the progress.
final class KeyImportHandler: KeyHandler {
  /// How many puts a transaction has at most: etcd's default limit (`--max-txn-ops`).
  private static let maxOperations = 128
  /// How many transactions are under way at most.
  private static let maxUnderWay = 4
  /// How often to report progress, in milliseconds.
  private static let reportInterval: UInt64 = 1000
  /// How small a batch may become, in bytes, if etcd accepts less than usual.
  private static let leastBytes = 16 << 10

  unowned let exchange: Exchange
  unowned let shard: Shard
  let caller: Caller
  private let timeout: GRPCTimeout?
  private let skipsErrors: Bool
  private var lines: BodyLines
  /// The batch that lines are added to, the one that is complete and waits, and those at etcd.
  private lazy var filling = KeyImportBatch(0, owner: self)
  private var waiting: KeyImportBatch?
  private var underWay: [KeyImportBatch] = []
  /// The last batch that puts a key, by the key's hash. If two keys share a hash, a batch waits in vain, and no harm is
  /// done.
  private var lastPuts: [Int: Int] = [:]
  private var maxOperations: Int
  private var maxBytes = KeyImportBatch.maxBytes
  private var kept: KeptBytes
  /// Whether there is no memory for more of the body for now.
  private var isShort = false
  private var report = KeyImportReport()
  /// Why the import ends prematurely: of several faults, that of the first line.
  private var fault: KeyImportReport.Fault?
  private var isWorking = false
  private lazy var reports = LoopTimer(loop: shard.loop) { [unowned self] in sendReport() }

  init(_ request: KeyRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.exchange = exchange
    self.shard = shard
    try exchange.head.checkHasNoConditions()
    skipsErrors = request.query.flag(.skipErrors)
    lines = BodyLines(limit: shard.settings.http.requestBytes)
    maxOperations = min(Self.maxOperations, shard.settings.maxTransactionOperations)
    kept = KeptBytes(shard.memory)
    timeout = try shard.settings.timeLimits.limit(of: exchange, waits: false)
    caller = try Caller(exchange, shard: shard)
  }

  // MARK: - The body

  var bodyUse: BodyUse { .asItComes }

  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) {
    if !isWhole && !reports.isActive { reports.start(after: Self.reportInterval, every: Self.reportInterval) }
    // After a fault, further lines are not kept.
    if fault == nil { lines.append(bytes) }
    // What libmicrohttpd has already read still comes.
    guard !exchange.isBodyHeld else { return countMemory() }
    work()
    if isDone { return answer() }
    if mustWait { exchange.holdBody() }
  }

  func receivedEnd() {
    lines.hasEnded = true
    work()
    if isDone { answer() }
  }

  func clientIsGone() {
    reports.stop()
    for batch in underWay { batch.cancel() }
    underWay = []
  }

  /// Whether the body has to wait. At least one batch is under way then.
  private var mustWait: Bool { !isDone && (waiting != nil || fault != nil || isShort) }

  /// Whether only the answer is left.
  private var isDone: Bool {
    (fault != nil || lines.hasEnded) && underWay.isEmpty && waiting == nil && filling.isEmpty
  }

  /// Does all that is possible now.
  private func work() {
    // If a call ends as soon as it is started, this method is called again.
    guard !isWorking else { return }
    isWorking = true
    while goOn() {}
    isWorking = false
    countMemory()
  }

  /// - Returns: false if it has to wait, for the client or for etcd.
  private func goOn() -> Bool {
    if let batch = waiting {
      guard underWay.count < Self.maxUnderWay, !underWay.contains(where: batch.follows) else { return false }
      waiting = nil
      underWay.append(batch)
      batch.start()
      return true
    }
    guard fault == nil, filling.puts.count < maxOperations else { return completeBatch() }
    switch lines.take({ Self.read($0, at: $1) }) {
    case .line(.blank): break
    case .line(.put(let put, let value, let place)): append(put, value, at: place)
    case .line(.fault(let error, let place)):
      let error = error.preceded(by: place.offset)
      refuse(at: place, byte: error.offset, 400, .invalidArgument, "\(error)")
    case .tooLong(let place):
      let limit = shard.settings.http.requestBytes
      refuse(
        at: place, byte: place.offset, 413, .resourceExhausted,
        "the line is larger than \(limit) bytes (--max-request-bytes)")
    case .nothing:
      // An incomplete batch waits for more lines only while etcd executes others.
      guard lines.hasEnded || underWay.isEmpty else { return false }
      return completeBatch()
    }
    return true
  }

  private enum Line {
    case blank
    case put(KeyPut, [UInt8], BodyLines.Place)
    case fault(TranscodingError, BodyLines.Place)
  }

  private static func read(_ line: UnsafeRawBufferPointer, at place: BodyLines.Place) -> Line {
    guard line.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0d }) else { return .blank }
    do throws(TranscodingError) {
      let (put, value) = try JSONDocument.read(line) { json throws(TranscodingError) in
        try KeyPut.read(&json, as: .line)
      }
      return .put(put, value, place)
    } catch {
      return .fault(error, place)
    }
  }

  private func append(_ put: KeyPut, _ value: [UInt8], at place: BodyLines.Place) {
    var hasher = Hasher()
    put.key.withUnsafeBytes { hasher.combine(bytes: $0) }
    let key = hasher.finalize()
    value.withUnsafeBytes { value in
      var last = lastPuts[key]
      // etcd refuses a key that occurs twice in a transaction.
      if last == filling.number || filling.byteCount + put.wireCount(of: value) > maxBytes {
        completeBatch()
        last = lastPuts[key]
      }
      lastPuts[key] = filling.number
      filling.append(put, value, at: place, key: key, behind: last)
    }
  }

  /// Makes the batch wait for its turn; further lines go into a new one.
  @discardableResult
  private func completeBatch() -> Bool {
    guard !filling.isEmpty else { return false }
    waiting = filling
    filling = KeyImportBatch(filling.number + 1, owner: self)
    return true
  }

  /// Counts the bytes of the body that are kept.
  private func countMemory() {
    let batches = underWay.reduce(filling.byteCount + (waiting?.byteCount ?? 0)) { $0 + $1.byteCount }
    let count = max(0, lines.count + batches - MemoryAccount.uncounted)
    isShort = false
    guard !kept.set(to: count) else { return }
    // These bytes are in memory already, and no more will come until there are less.
    kept.force(count - kept.count)
    isShort = !underWay.isEmpty
    guard !isShort, fault == nil else { return }
    let place = lines.next
    stop(
      KeyImportReport.Fault(
        place: place, byte: place.offset, status: 503, code: .resourceExhausted, message: "\(MemoryAccount.shortage)",
        headers: [("Retry-After", "1")]))
  }

  // MARK: - Refused lines

  /// Skips a line, or stops before it.
  private func refuse(
    at place: BodyLines.Place, byte: Int, _ status: UInt32, _ code: GRPCCode, _ message: String,
    headers: HTTPResponse.Headers = []
  ) {
    let fault = KeyImportReport.Fault(
      place: place, byte: byte, status: status, code: code, message: "line \(place.number): \(message)",
      headers: headers)
    if skipsErrors { report.skipped(fault) } else { stop(fault) }
  }

  private func stop(_ fault: KeyImportReport.Fault) {
    if let first = self.fault, first.place.number <= fault.place.number { return }
    self.fault = fault
    // The lines after it were read already, and must not be put.
    func isBehind(_ batch: KeyImportBatch) -> Bool { batch.puts.first.map { !wants($0.place) } ?? false }
    if let waiting, isBehind(waiting) { self.waiting = nil }
    if isBehind(filling) { filling = KeyImportBatch(filling.number + 1, owner: self) }
  }

  // MARK: - From the batches

  /// Makes the call for a part of a batch.
  ///
  /// It is sent again even if etcd may have executed it: either way, the keys have these values afterwards, as the
  /// client wants. The report says how often that happened.
  func call(_ message: consuming CallMessage, delegate: KeyImportBatch) -> Call {
    Call(KeyCalls.importTxn, message: message, timeout: timeout, delegate: delegate)
  }

  func start(_ call: Call) {
    call.maxBytes = KeyCalls.maxSmall
    shard.bridge.start(call, for: caller)
  }

  /// Whether a line of a halved batch still has to be put.
  func wants(_ place: BodyLines.Place) -> Bool { fault.map { place.number < $0.place.number } ?? true }

  func put(_ puts: ArraySlice<KeyImportBatch.Put>, at revision: Int64, wasRepeated: Bool) {
    let bytes = puts.reduce(0) { $0 + $1.place.count }
    report.put(puts.count, bytes: bytes, revision: revision, wasRepeated: wasRepeated)
    exchange.hasMadeProgress()
  }

  /// etcd does not accept so many lines in one transaction.
  func tookTooMuch(_ count: Int, for status: GRPCStatus) {
    switch status.message {
    case EtcdMessage.tooManyOps: maxOperations = min(maxOperations, max(1, count / 2))
    case EtcdMessage.requestTooLarge: maxBytes = max(Self.leastBytes, maxBytes / 2)
    default: break
    }
  }

  /// Lines were not put: one that etcd has refused, or several, if it is not known whether they were put.
  func refused(_ puts: ArraySlice<KeyImportBatch.Put>, for status: GRPCStatus) {
    guard let first = puts.first?.place, let last = puts.last?.place else { return }
    let status = status.plain(hadCredentials: caller.isSomebody)
    let (http, headers) = status.keyStatus(hadCredentials: caller.isSomebody)
    if status.isAboutRequest {
      return refuse(at: first, byte: first.offset, http, status.code, status.message, headers: headers)
    }
    let lines = last.number == first.number ? "line \(first.number)" : "lines \(first.number) to \(last.number)"
    let fate = status.isRefusal ? "" : "; they may have been put"
    stop(
      KeyImportReport.Fault(
        place: first, byte: first.offset, status: http, code: status.code,
        message: "\(lines): \(status.message)\(fate)",
        headers: headers))
  }

  func ended(_ batch: KeyImportBatch) {
    underWay.removeAll { $0 === batch }
    for key in batch.keys where lastPuts[key] == batch.number { lastPuts[key] = nil }
    guard !isWorking else { return }
    work()
    if isDone && lines.hasEnded { return answer() }
    if !mustWait { exchange.takeMoreBody() }
  }

  // MARK: - The answer

  private func sendReport() {
    // As long as nothing was sent, an error has a status of its own.
    guard fault == nil else { return }
    var line = ByteBuffer(capacity: 128)
    report.appendLine(to: &line)
    exchange.sendEarly(line, contentType: MediaType.lines.name)
  }

  private func answer() {
    reports.stop()
    var response: HTTPResponse
    if let fault {
      response = .error(fault.status, fault.code, fault.message, headers: fault.headers) {
        report.append(fault, to: &$0)
      }
    } else {
      var body = ByteBuffer(capacity: 256)
      report.appendLast(to: &body)
      response = HTTPResponse(status: 200, body: body)
      response.contentType = MediaType.lines.name
      response.headers = HTTPResponse.headers(ofMoment: report.revision)
    }
    // It reports what was done.
    response.isOwed = true
    exchange.respond(response)
  }
}
