import EtcdSchema
import Glibc
import GrpcBridge
import Transcoding

/// Answers with etcd's database as it is, a file that `etcdctl snapshot restore` takes.
///
/// The file ends with the SHA-256 of what comes before. It is verified on the way: until it was, the client lacks the end,
/// and where it is wrong the client never gets it.
final class SnapshotHandler: RequestHandler {
  private let route: RpcRoute
  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private var caller: Caller?
  private var place: OpenStreams.Place?
  private var call: Call?
  private var isPaused = false

  /// The response message that is being received.
  private var message: [UInt8] = []
  private var unread = UnreadBytes()
  private var digest = SnapshotDigest()
  /// The last bytes that have come, which may be the digest; the others were passed on.
  private var tail: [UInt8] = []
  private var receivedCount: UInt64 = 0
  /// The size of the file in bytes; nil before the first message.
  private var length: UInt64?
  private var isEnded = false
  private var isBroken = false

  init(_ route: RpcRoute, exchange: Exchange, shard: Shard) {
    self.route = route
    self.exchange = exchange
    self.shard = shard
  }

  func receivedEnd() {
    let caller: Caller
    let timeout: GrpcTimeout?
    do throws(Refusal) {
      timeout = try shard.settings.timeLimits.limit(of: exchange.head, waits: true)
      caller = try Caller(exchange.head.authorization, shard: shard)
      place = try shard.streams.admit(self, heartbeat: nil, timeout: nil)
    } catch {
      return exchange.respond(.error(error))
    }
    self.caller = caller
    let call = Call(route.method, message: CallMessage(copying: []), timeout: timeout, delegate: self)
    self.call = call
    shard.bridge.start(call, credentials: caller.credentials)
    shard.bridge.finishSending(call)
  }

  func clientIsGone() {
    if let call { shard.bridge.cancel(call) }
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead {
    let count = unread.read(into: buffer)
    guard count > 0 else { return isBroken ? .broken : isEnded ? .end : .notYet }
    if isPaused && unread.count == 0, let call {
      isPaused = false
      shard.bridge.resume(call)
    }
    return .bytes(count)
  }

  /// The size of the whole file: `rest` is how much comes after the first message, by etcd's count, which does not
  /// include the digest. The database is a whole number of pages, so that a count that does include it shows.
  static func fileSize(first: Int, rest: UInt64) -> UInt64 {
    let size = UInt64(first) &+ rest
    return size % 512 == UInt64(SnapshotDigest.size) ? size : size &+ UInt64(SnapshotDigest.size)
  }

  /// Begins the answer; returns the size of the file.
  private func begin(_ first: Etcdserverpb_SnapshotResponse) -> UInt64 {
    let length = Self.fileSize(first: first.blob.count, rest: first.remainingBytes)
    self.length = length
    exchange.respond(
      streaming: 200, contentType: "application/octet-stream", length: length,
      headers: [("Content-Disposition", "attachment; filename=\"\(Self.fileName())\""), ("Cache-Control", "no-store")])
    return length
  }

  private static func fileName() -> String {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 40) { text in
      strftime(text.baseAddress!, text.count, "etcd-%Y%m%dT%H%M%SZ.db", &parts)
      return String(cString: text.baseAddress!)
    }
  }

  /// Passes on all but what may be the digest.
  private func take(_ bytes: UnsafeRawBufferPointer) {
    let surplus = max(0, tail.count + bytes.count - SnapshotDigest.size)
    let fromTail = min(surplus, tail.count)
    tail[..<fromTail].withUnsafeBytes { pass($0) }
    tail.removeFirst(fromTail)
    pass(UnsafeRawBufferPointer(rebasing: bytes[..<(surplus - fromTail)]))
    tail.append(contentsOf: bytes[(surplus - fromTail)...])
  }

  private func pass(_ bytes: UnsafeRawBufferPointer) {
    digest.update(bytes)
    unread.buffer.append(bytes)
  }

  /// Ends the answer; what is wrong with it, if anything, has `reason`.
  private func end(brokenBecause reason: String?) {
    isEnded = true
    isBroken = reason != nil
    if let reason { shard.logger.error("a snapshot was cut: \(reason)") }
    exchange.streamIsReadable()
  }
}

extension SnapshotHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) { message.removeAll(keepingCapacity: true) }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { message.append(contentsOf: bytes) }

  func callReceivedMessage(_ call: Call) {
    guard let part = try? Etcdserverpb_SnapshotResponse(serializedBytes: message) else {
      shard.bridge.cancel(call)
      return self.call(call, endedWith: GrpcStatus(.internal, "an answer of etcd is not understood"))
    }
    let length = length ?? begin(part)
    receivedCount += UInt64(part.blob.count)
    guard receivedCount <= length else {
      // Not even the end is passed on: a client that has got `length` bytes takes them for the file.
      shard.bridge.cancel(call)
      self.call = nil
      return end(brokenBecause: "etcd has announced \(length) bytes and sent more")
    }
    part.blob.withUnsafeBytes { take($0) }
    if unread.isFull && !isPaused {
      isPaused = true
      shard.bridge.pause(call)
    }
    exchange.streamIsReadable()
  }

  func call(_ call: Call, endedWith status: GrpcStatus) {
    self.call = nil
    guard let length else {
      let failure = status.isOK ? GrpcStatus(.internal, "etcd has sent an empty snapshot") : status
      return exchange.respond(.error(failure, hadCredentials: caller?.isSomebody == true))
    }
    guard status.isOK else { return end(brokenBecause: status.message) }
    guard receivedCount == length else {
      return end(brokenBecause: "etcd has announced \(length) bytes and sent \(receivedCount)")
    }
    guard tail == digest.finish() else { return end(brokenBecause: "its SHA-256 is wrong") }
    tail.withUnsafeBytes { unread.buffer.append($0) }
    end(brokenBecause: nil)
  }

  func credentials(for call: Call) -> BasicCredentials {
    caller!.basicCredentials(exchange.head.authorization, shard: shard)
  }

  func peer(of call: Call) -> String { exchange.peer }
}

// It counts as a stream, but ends by itself, and its client has the file's size to see that it goes on.
extension SnapshotHandler: OpenStream {
  func gatewayStops() {}
  func beat() {}
  func expire() {}
}
