import EventLoop
import GrpcBridge

/// An open stream, as far as it is counted and logged: it ends when this goes. Belongs to its shard's loop.
final class StreamRecord {
  /// What a row of counters has.
  enum Counter: Int, CaseIterable {
    case opened
    case closed
    case messages
  }

  private let journal: RequestJournal
  // Invariant: of the journal, which lives as long as this.
  private let counters: UnsafeMutablePointer<UInt64>
  /// What is going to be logged of it.
  private let entry: StreamEntry?
  /// What is recorded of it in its trace.
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
    // Without any reason it is the client that ends it.
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

  /// More of a message has been queued that is sent in parts.
  func hasSentPart(bytes: Int) { entry?.hasSent(messages: 0, bytes: bytes) }

  /// The stream ends, for this reason: the first one counts. Without any it is the client that ends it.
  func ends(_ status: GRPCStatus) {
    entry?.ends(status.code)
    if span?.streamEnd == nil { span?.streamEnd = status.code }
  }
}
