import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Answers with all keys of a range at one revision: a JSON document on each line.
///
/// They are read in pages: the next one while the one before is sent, but never further than the client reads. If a
/// page breaks off, because its member has gone or the client was too slow for its time limit, it is read again from
/// the first missing key.
final class KeyExportHandler: KeyCallHandler {
  /// The intended size of a page, in bytes.
  private static let pageBytes: Int64 = 1 << 20
  /// How many keys the first page has, while their size is not known.
  private static let firstLimit: Int64 = 1000
  private static let maxKeys: Int64 = 100_000

  unowned let exchange: Exchange
  unowned let shard: Shard
  let caller: Caller
  let timeout: GRPCTimeout?
  var call: Call?
  /// The keys that are left to read.
  private var selection: KeySelection

  private var events = ProtobufPushParser(length: 0, messages: [])
  private var key: KeyValueFields
  private var lastKey: [UInt8] = []
  /// Counts a long key, here and in ``selection``.
  private var lastKeyKept: KeptBytes
  /// The size of the page, and how many keys of it have come.
  private var pageLength: Int64 = 0
  private var pageCount: Int64 = 0
  private var hasMore = false
  private var answer: StreamedAnswer
  /// How many members in a row were lost within a page.
  private var losses = 0
  /// Whether the next page waits for the client.
  private var isHeldBack = false

  init(_ request: KeyRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.exchange = exchange
    self.shard = shard
    answer = StreamedAnswer(shard.memory)
    key = KeyValueFields(shard.memory)
    lastKeyKept = KeptBytes(shard.memory)
    selection = KeySelection(request)
    selection.limit = Self.firstLimit
    timeout = try shard.settings.timeLimits.limit(of: exchange, waits: false)
    caller = try Caller(exchange, shard: shard)
  }

  func receivedEnd() { askForPage() }

  private func askForPage() {
    (pageLength, pageCount, hasMore) = (0, 0, false)
    key.reset()
    // With bounds, etcd would go through the whole range for each page.
    start(KeyCalls.range, selection.message(isBounded: false))
  }

  // MARK: - The answer

  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead {
    let read = answer.body.read(into: buffer)
    if case .bytes = read, answer.body.isDrained {
      if isHeldBack {
        isHeldBack = false
        askForPage()
      } else if let call {
        shard.bridge.resume(call)
      }
    }
    return read
  }

  private func take(_ event: ProtobufPushParser.Event) {
    switch event {
    case .number(path: RangeResponsePath.revision, let number):
      // All pages are read at the revision of the first one.
      if selection.revision == 0 { selection.revision = Int64(bitPattern: number) }
    case .end(path: RangeResponsePath.header): begin()
    case .end(path: RangeResponsePath.keyValue): append()
    case .number(path: RangeResponsePath.more, let number): hasMore = number != 0
    default: key.take(event, ofMessageAt: RangeResponsePath.keyValue)
    }
  }

  private func begin() {
    guard !answer.isStreaming else { return }
    answer.begin(
      exchange, contentType: MediaType.lines.name,
      headers: HTTPResponse.headers(ofMoment: selection.revision) + [("Vary", "Accept")])
  }

  private func append() {
    pageCount += 1
    if selection.admits(key) {
      key.appendJSON(to: &answer.body.buffer, hasValue: !selection.keysOnly)
      answer.body.buffer.append("\n")
    }
    lastKey.removeAll(keepingCapacity: true)
    key.key.withUnsafeBytes { lastKey.append(contentsOf: $0) }
    key.reset()
    // There was room for the key where it was copied from.
    let isLong = lastKey.count > MemoryAccount.uncounted
    if !lastKeyKept.set(to: isLong ? 2 * lastKey.count : 0) { lastKeyKept.force(2 * lastKey.count - lastKeyKept.count) }
  }

  /// Continues after the last key that has come.
  private func goOn() {
    if pageCount > 0 {
      // Otherwise the same pages might come without end.
      guard selection.range.contains(Bytes(lastKey)) else {
        return cut(shard.misunderstood(WireError.unexpectedFields, for: exchange.id.text))
      }
      selection.advance(behind: lastKey)
      let keyBytes = max(1, pageLength / pageCount)
      selection.limit = min(max(1, Self.pageBytes / keyBytes), Self.maxKeys, selection.limit * 4)
    }
    if answer.body.isFull { isHeldBack = true } else { askForPage() }
  }

  private func end(isBroken: Bool) { answer.end(isBroken: isBroken, to: exchange) }
}

extension KeyExportHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    events = ProtobufPushParser(length: length, messages: RangeResponsePath.messages)
    pageLength = Int64(length)
    if !answer.isStreaming && length > MemoryAccount.uncounted && !shard.hasRoomForAnswer { cut(call, &answer) }
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    var input = bytes
    while !key.isTooMuch, let event = events.next(&input) { take(event) }
    if key.isTooMuch {
      self.call = nil
      return cut(call, &answer)
    }
    answer.passOn(of: call, over: shard.bridge, to: exchange)
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    self.call = nil
    var status = status
    if status.isOK {
      do throws(WireError) {
        try events.finish()
        guard answer.isStreaming else { throw .unexpectedFields }
      } catch {
        status = shard.misunderstood(error, for: exchange.id.text)
      }
    }
    losses = status.isLoss ? losses + 1 : 0
    switch (status.code, answer.isStreaming) {
    // The page may be what ends etcd: two members are enough to know.
    case (_, true) where losses > 1: cut(status)
    case (.ok, _) where hasMore && pageCount > 0: goOn()
    case (.ok, _): end(isBroken: false)
    case (_, false): respond(with: status)
    // Each attempt brings at least one key, so they come to an end.
    case (.unavailable, _) where pageCount > 0, (.deadlineExceeded, _) where pageCount > 0: goOn()
    default: cut(status)
    }
  }

  private func cut(_ status: GRPCStatus) {
    shard.logger.warning("an export was cut: \(status.message)", metadata: ["request_id": "\(exchange.id.text)"])
    end(isBroken: true)
  }
}
