import GrpcBridge
import HTTPServer
import ProtobufWire

/// One client's watch of a key, or of the keys of a range.
final class KeyWatchSession: StreamSource {
  private let range: KeyRange
  private let start: WatchStart
  private let form: KeyWatchForm
  private unowned let sink: LineStream
  private unowned let shard: Shard
  private let caller: Caller
  private var client: WatchClient!
  /// The revision up to which the client knows that it has everything; nil until etcd watches.
  private var told: Int64?
  private var hasEvents = false
  private var isOver = false

  init(
    _ range: KeyRange, from start: WatchStart, as form: KeyWatchForm, sink: LineStream, shard: Shard,
    caller: Caller
  ) {
    self.range = range
    self.start = start
    self.form = form
    self.sink = sink
    self.shard = shard
    self.caller = caller
    client = shard.bridge.watches.open(for: caller, delegate: self)
  }

  /// Begins the watch at etcd. To be called once.
  func begin() {
    do throws(GRPCStatus) {
      try client.watch(range, from: start.firstRevision)
    } catch {
      end(error)
    }
  }

  // MARK: - From the stream

  func sinkHasRoom() { client.resume() }

  func cancel() {
    isOver = true
    client.cancel()
  }

  /// The position of the watch, so that a client that reconnects after a long silence does not name a compacted
  /// revision.
  func heartbeat() -> StreamFrame? {
    guard let told, let position = client.position else { return nil }
    guard position > told || form == .lines else { return KeyWatchForm.comment }
    self.told = position
    return form.progress(position)
  }

  func refusal(_ status: GRPCStatus, hadCredentials: Bool) -> HTTPResponse {
    form.refusal(status, hadCredentials: hadCredentials, isReturn: start.isReturn)
  }

  func ending(_ status: GRPCStatus, hadCredentials: Bool) -> StreamFrame {
    form.error(status, hadCredentials: hadCredentials)
  }

  // MARK: - To the stream

  /// Sends the start of the watch first: a browser that loses the connection before the first change reconnects with
  /// that.
  private func tellStart(_ storeRevision: Int64) {
    guard told == nil else { return }
    let revision = start.revision ?? storeRevision
    told = revision
    sink.headers = [("X-Etcd-Revision", "\(revision)")]
    sink.send(form.progress(revision, skipped: start.skipped, retries: true))
  }

  private func tell(_ response: WatchResponse) {
    do throws(WireError) {
      for frame in try frames(response).frames { sink.send(frame) }
    } catch {
      return end(shard.misunderstood(error, for: sink.requestID))
    }
    told = max(told ?? 0, response.lastRevision)
    if sink.backlog > shard.settings.streams.backlog { client.pause() }
  }

  private func frames(_ response: WatchResponse) throws(WireError) -> KeyWatchFrames {
    defer { hasEvents = true }
    if !hasEvents && start.skipped > 0 && response.firstRevision == start.firstRevision {
      return try KeyWatchFrames(response, as: form, skipping: min(start.skipped, response.firstRevisionCount))
    }
    return try response.rendering(variant: form.rawValue) { () throws(WireError) in
      try KeyWatchFrames(response, as: form)
    }
  }

  private func end(_ status: GRPCStatus) {
    guard !isOver else { return }
    cancel()
    sink.fail(status)
  }
}

extension KeyWatchSession: WatchClientDelegate {
  func watchClient(_ client: WatchClient, received response: WatchResponse, watchID: Int64) {
    switch response.news {
    case .creation: tellStart(response.storeRevision)
    case .events: tell(response)
    case .compaction(let revision):
      cancel()
      sink.send(form.compaction(revision))
      sink.finish()
    case .end(let status): end(caller.meaning(of: status))
    }
  }

  func watchClient(_ client: WatchClient, endedWith status: GRPCStatus) { end(status) }
}
