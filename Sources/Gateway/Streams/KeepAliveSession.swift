import ByteBuffers
import DequeModule
import EtcdSchema
import GrpcBridge
import ProtobufWire

/// Keeps leases alive for one client: answers each request, in the order of the requests.
final class KeepAliveSession: StreamSession {
  /// How many requests may be under way at etcd; waiting ones take the memory of a number each.
  private static let maxAsked = 64
  /// How many requests may wait, all of them from one HTTP request or WebSocket message.
  private static let maxWaiting = 1 << 18

  /// A request that was passed on.
  private final class Asked {
    var keepAlive: KeepAliveRequest?
    var answer: [UInt8]?
  }

  private let route: RPCRoute
  private unowned let sink: any StreamSink
  private unowned let shard: Shard
  private let caller: Caller
  /// The requests whose answers were not sent yet, the oldest first.
  private var asked: Deque<Asked> = []
  /// The leases of the requests that were not passed on yet.
  private var waiting: Deque<Int64> = []
  private var hasAllRequests = false
  private var isOver = false

  init(_ route: RPCRoute, sink: any StreamSink, caller: Caller, shard: Shard) {
    self.route = route
    self.sink = sink
    self.caller = caller
    self.shard = shard
  }

  func receive(_ message: consuming ByteBuffer) {
    guard !isOver else { return }
    let request = message.withUnsafeBytes {
      try? Etcdserverpb_LeaseKeepAliveRequest(serializedBytes: Array($0[CallMessage.headroom...]))
    }
    guard let request else { return end(GRPCStatus(.internal, "a request was not encoded as it should")) }
    guard waiting.count < Self.maxWaiting else {
      return end(GRPCStatus(.resourceExhausted, "more than \(Self.maxWaiting) keepalives wait for their answers"))
    }
    waiting.append(request.id)
    ask()
  }

  func receiveEnd() {
    hasAllRequests = true
    answer()
  }

  func sinkHasRoom() { ask() }

  func cancel() {
    isOver = true
    for request in asked { request.keepAlive?.cancel() }
    asked = []
    waiting = []
  }

  /// Passes on as many requests as may be under way, unless their answers would only wait for the client. Takes more
  /// requests once none of them waits.
  private func ask() {
    while !isOver, asked.count < Self.maxAsked, sink.backlog <= shard.settings.streams.backlog,
      let lease = waiting.popFirst()
    {
      let request = Asked()
      asked.append(request)
      request.keepAlive = shard.bridge.leases.keepAlive(
        lease, for: caller, timeout: shard.settings.timeLimits.standard.milliseconds
      ) { [unowned self, unowned request] in hear($0, for: request) }
    }
    if !isOver { sink.takesRequests = waiting.isEmpty }
  }

  private func hear(_ result: Result<[UInt8], GRPCStatus>, for request: Asked) {
    switch result {
    case .success(let message):
      request.answer = message
      answer()
    case .failure(let status):
      end(status)
    }
  }

  /// Sends the answers that have come, up to the first that is missing.
  private func answer() {
    while !isOver, let message = asked.first?.answer {
      // Removed before its answer is sent, because sending may make room for another request, or end the session.
      asked.removeFirst()
      do {
        sink.send(try StreamFrame(result: route.response) { message.withUnsafeBytes($0) })
      } catch {
        return end(shard.misunderstood(error, for: sink.requestID))
      }
    }
    ask()
    guard hasAllRequests, !isOver, asked.isEmpty, waiting.isEmpty else { return }
    cancel()
    sink.finish()
  }

  private func end(_ status: GRPCStatus) {
    guard !isOver else { return }
    cancel()
    sink.fail(status)
  }
}
