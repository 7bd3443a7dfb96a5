import EventLoop
import GrpcBridge

/// An open stream for counting and logging: the stream ends when this object is released. Belongs to its shard's loop.
final class StreamRecord {
  /// The counters of a row.
  enum Counter: Int, CaseIterable {
    case opened
    case closed
    case messages
  }

  private let journal: RequestJournal
  // Invariant: memory of the journal, which lives as long as this.
  private let counters: UnsafeMutablePointer<UInt64>
  /// The log entry for its end.
  private let entry: StreamEntry?
  /// Its span in its trace.
  private var span: RequestSpan?

  init(
    journal: RequestJournal, counters: UnsafeMutablePointer<UInt64>, entry: StreamEntry?, span: RequestSpan?
  ) {
    self.span = span
    self.journal = journal
    self.counters = counters
    self.entry = entry
    counters[Counter.opened.rawValue] &+= 1
  }

  deinit {
    counters[Counter.closed.rawValue] &+= 1
    if let entry { journal.log?.closed(entry) }
    guard var span else { return }
    span.end = preciseTime
    // Without a reason, the client has ended it.
    span.streamEnd = span.streamEnd ?? .canceled
    journal.tracer?.record(.request(span))
  }

  /// Requests of the client were passed on.
  func hasReceived(_ count: Int = 1) { entry?.received += count }

  /// A message has been queued for the client.
  func hasSentMessage(bytes: Int) {
    counters[Counter.messages.rawValue] &+= 1
    entry?.hasSent(messages: 1, bytes: bytes)
  }

  /// Another part of a message has been queued that is sent in parts.
  func hasSentPart(bytes: Int) { entry?.hasSent(messages: 0, bytes: bytes) }

  /// The stream ends for this reason; the first one counts. Without a reason, the client has ended it.
  func ends(_ status: GRPCStatus) {
    entry?.ends(status.code)
    if span?.streamEnd == nil { span?.streamEnd = status.code }
  }
}
