import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire
import SwiftProtobuf
import Transcoding

/// Begins to observe an election; a ``LineStream`` sends the observation to the client.
final class ObservationHandler: RequestHandler {
  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private let queue: QueueName
  private let heartbeat: UInt64?
  private let form: KeyWatchForm
  private var stream: LineStream?

  /// - Parameter route: etcd's `Observe`.
  init(_ exchange: Exchange, shard: Shard) throws(RequestError) {
    self.exchange = exchange
    self.shard = shard
    try exchange.head.checkHasNoConditions()
    queue = try QueueName(exchange.head.path)
    heartbeat = try KeyQuery(exchange.queryItems) { [.heartbeat] }.time(.heartbeat)
    form = KeyWatchForm(for: exchange.head)
  }

  var isEndless: Bool { true }

  func receivedEnd() {
    do throws(RequestError) {
      try begin()
    } catch {
      exchange.refuse(error)
    }
  }

  func clientIsGone() { stream?.clientIsGone() }

  private func begin() throws(RequestError) {
    let (stream, caller) = try LineStream.open(exchange, shard, as: form, heartbeat: heartbeat)
    self.stream = stream
    let session = ObservationSession(queue, as: form, sink: stream, shard: shard, caller: caller)
    stream.source = session
    session.begin()
  }
}

/// Answers `HEAD` as an observation begins. etcd sends nothing before there is a leader, not even that the client may
/// not read the election: so it is asked who leads.
final class ObservationHeadHandler: QueueHandler {
  private let form: KeyWatchForm

  init(_ exchange: Exchange, shard: Shard) throws(RequestError) {
    form = KeyWatchForm(for: exchange.head)
    try exchange.head.checkHasNoConditions()
    try super.init(exchange, shard: shard, parameters: [.heartbeat])
  }

  override func receivedEnd() {
    askHolder { [unowned self] _, _ in exchange.respond(headOfStream: form.contentType) }
  }
}

/// One client's observation of an election.
final class ObservationSession: ServerStreamSession {
  private let queue: QueueName
  private let form: KeyWatchForm
  private var isFirst = true
  private static let heartbeatLine = StreamFrame(isShared: true) { $0.append("{\"type\":\"heartbeat\"}") }

  init(_ queue: QueueName, as form: KeyWatchForm, sink: any StreamSink, shard: Shard, caller: Caller) {
    self.queue = queue
    self.form = form
    // Only the stream's own time limit ends it, not that of a call.
    super.init(shard.observation, sink: sink, shard: shard, caller: caller, timeout: nil)
  }

  /// Begins the observation at etcd. To be called once.
  func begin() {
    var message = keyCallMessage(capacity: queue.bytes.count + 8)
    message.append(field: V3electionpb_LeaderRequest.Field.name, queue.bytes)
    receive(message)
    receiveEnd()
  }

  override func heartbeat() -> StreamFrame? {
    form == .events ? KeyWatchForm.comment : Self.heartbeatLine
  }

  override func refusal(_ status: GRPCStatus, hadCredentials: Bool) -> HTTPResponse {
    form.refusal(status, hadCredentials: hadCredentials, isReturn: false)
  }

  override func ending(_ status: GRPCStatus, hadCredentials: Bool) -> StreamFrame {
    form.error(status, hadCredentials: hadCredentials)
  }

  override func beginMessage() {}

  override func endMessage(_ message: [UInt8]) throws -> StreamFrame {
    let key = try V3electionpb_LeaderResponse(serializedBytes: message).kv
    let holder = QueueHolder(
      key: Array(key.key), value: Array(key.value), lease: key.lease, revision: key.createRevision)
    defer { isFirst = false }
    return form.frame("leader", id: "\(key.modRevision)", retries: isFirst) { text in
      holder.json(in: queue, isNews: true).withUnsafeBytes { text.append($0) }
    }
  }
}
