import EventLoop
import GrpcBridge
import Logging
import Synchronization

/// Sends the spans of all shards to a collector, on a thread of its own.
final class SpanExporter: Sendable {
  /// How long the end of the gateway waits for the spans that are left, in milliseconds.
  private static let lastWait: UInt64 = 3000

  /// Takes the spans of the shards.
  let queue: SpanQueue
  private let sender: LoopBound<SpanSender>
  private let loop: LoopBound<EventLoop>
  private let thread = Mutex<LoopThread?>(nil)

  /// - Throws: `LoopError` if the system grants no further descriptor.
  init(_ settings: TracingSettings, logger: Logger) throws {
    let loop = try EventLoop()
    queue = SpanQueue(capacity: settings.maxSpans)
    sender = LoopBound(SpanSender(settings, queue: queue, loop: loop, logger: logger), loop: loop)
    self.loop = LoopBound(loop, loop: loop)
  }

  /// Starts the thread. To be called once.
  ///
  /// - Throws: `LoopError` if the system grants no further thread. Then nothing is left running.
  func start() throws(LoopError) {
    sender.value.start()
    do throws(LoopError) {
      let started = try LoopThread(name: "etcd-rest otlp", running: loop)
      thread.withLock { $0 = started }
    } catch {
      sender.value.stop()
      throw error
    }
    queue.whenFull { [sender] in sender.remote.execute { sender.value.export() } }
  }

  /// Sends these header lines with each further export.
  func use(headers: String) { sender.remote.execute { [sender] in sender.value.headers = headers } }

  /// Sends the spans that are left, for a limited time, and ends the thread. To be called once, after all shards have
  /// ended.
  func close() {
    queue.whenFull {}
    guard let thread = thread.withLock({ $0.take() }) else { return sender.value.stop() }
    sender.remote.execute { [sender, loop] in
      sender.value.finish(within: Self.lastWait) { loop.value.stop() }
    }
    thread.join()
  }
}
