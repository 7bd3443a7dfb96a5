import EtcdSchema
import Glibc
import GrpcBridge
import HTTPServer
import Transcoding

/// Answers with etcd's database, a file for `etcdctl snapshot restore`.
///
/// The file ends with the SHA-256 of the bytes before it, which is verified on the way: until then the client lacks the
/// end, and if the digest is wrong the client never gets it.
final class SnapshotHandler: RequestHandler {
  private let route: RPCRoute
  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private var caller: Caller?
  private var place: OpenStreams.Place?
  private var call: Call?
  private var isPaused = false

  /// The response message that is being received.
  private var message: [UInt8] = []
  /// Counts it while it comes.
  private var kept: KeptBytes
  /// How large a message may be, in bytes. etcd's pieces have 32 KiB.
  private static let maxBytes = 16 << 20
  private var unread: ResponseBodyBuffer
  private var snapshot = SnapshotVerifier()
  private var isBegun = false

  init(_ route: RPCRoute, exchange: Exchange, shard: Shard) {
    self.route = route
    self.exchange = exchange
    self.shard = shard
    kept = KeptBytes(shard.memory)
    unread = ResponseBodyBuffer(shard.memory)
  }

  func receivedEnd() {
    let caller: Caller
    let timeout: GRPCTimeout?
    do throws(RequestError) {
      timeout = try shard.settings.timeLimits.limit(of: exchange, waits: true)
      caller = try Caller(exchange, shard: shard)
      place = try shard.streams.admit(self, heartbeat: nil, timeout: nil)
    } catch {
      return exchange.refuse(error)
    }
    self.caller = caller
    let call = Call(route.method, message: CallMessage(copying: []), timeout: timeout, delegate: self)
    call.maxBytes = Self.maxBytes
    self.call = call
    shard.bridge.start(call, for: caller)
    shard.bridge.finishSending(call)
  }

  func clientIsGone() {
    if let call { shard.bridge.cancel(call) }
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead {
    let read = unread.read(into: buffer)
    if isPaused && unread.isDrained, let call {
      isPaused = false
      shard.bridge.resume(call)
    }
    return read
  }

  /// Begins the answer, with the size of the file.
  private func begin(_ length: UInt64) {
    isBegun = true
    let name = utcTime("etcd-%Y%m%dT%H%M%SZ.db")
    exchange.respond(
      streaming: 200, contentType: "application/octet-stream", length: length,
      headers: [("Content-Disposition", "attachment; filename=\"\(name)\""), ("Cache-Control", "no-store")])
  }

  /// Ends the answer; `reason` says what is wrong with it, if anything.
  private func end(brokenBecause reason: String?) {
    unread.end(isBroken: reason != nil)
    if let reason {
      shard.logger.error("a snapshot was cut: \(reason)", metadata: ["request_id": "\(exchange.id.text)"])
    }
    exchange.streamIsReadable()
  }
}

extension SnapshotHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) { forgetMessage() }

  /// The memory of a message as large as etcd's is kept for the next one, and not counted.
  private func forgetMessage() {
    message.removeAll(keepingCapacity: message.count <= 2 * MemoryAccount.uncounted)
    kept.release()
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    let count = message.count + bytes.count
    guard count <= 2 * MemoryAccount.uncounted || kept.set(to: count) else { return giveUp(call) }
    message.append(contentsOf: bytes)
  }

  /// Ends the call, because there is no room for what etcd sends, and with it the answer.
  private func giveUp(_ call: Call) {
    forgetMessage()
    shard.bridge.cancel(call)
    self.call = nil
    if isBegun { end(brokenBecause: "\(MemoryAccount.shortage)") } else { exchange.refuse(.shortage) }
  }

  func callReceivedMessage(_ call: Call) {
    defer { forgetMessage() }
    guard let part = try? Etcdserverpb_SnapshotResponse(serializedBytes: message) else {
      shard.bridge.cancel(call)
      return self.call(
        call, endedWith: GRPCStatus(.internal, "etcd sent an invalid answer: not a part of a snapshot"))
    }
    do {
      try part.blob.withUnsafeBytes { bytes in
        try snapshot.take(bytes, announcing: part.remainingBytes) { unread.buffer.append($0) }
      }
    } catch {
      // The end is not passed on either: a client that has received the announced length takes it for the file.
      shard.bridge.cancel(call)
      guard !isBegun else {
        self.call = nil
        return end(brokenBecause: "\(error)")
      }
      return self.call(
        call, endedWith: GRPCStatus(.internal, "etcd sent an invalid answer: \(error)"))
    }
    if !isBegun, let length = snapshot.length { begin(length) }
    guard unread.keep() else { return giveUp(call) }
    if unread.isFull && !isPaused {
      isPaused = true
      shard.bridge.pause(call)
    }
    exchange.streamIsReadable()
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    self.call = nil
    guard isBegun else {
      let failure = status.isOK ? GRPCStatus(.internal, "etcd has sent an empty snapshot") : status
      return exchange.respond(.keyError(failure, hadCredentials: caller?.isSomebody == true))
    }
    guard status.isOK else { return end(brokenBecause: status.message) }
    do {
      let tail = try snapshot.finish()
      tail.withUnsafeBytes { unread.buffer.append($0) }
      end(brokenBecause: nil)
    } catch {
      end(brokenBecause: "\(error)")
    }
  }
}

// It counts as a stream, but ends by itself, and its client can follow its progress by the file's size.
extension SnapshotHandler: OpenStream {
  func gatewayStops() {}
  func beat() {}
  func expire() {}
}
