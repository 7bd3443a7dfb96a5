import EventLoop

/// Watches how long clients take to send their requests: a head has an end that no progress moves, a body a least rate.
/// Belongs to its shard's loop.
///
/// One timer looks from time to time at the connections on which something has happened since it last looked; requests
/// that come and are answered in between cost nothing but a flag.
final class RequestClock {
  struct Limits: Sendable {
    /// How long a head may take from its first byte on, in milliseconds.
    var head: UInt64 = 10_000
    /// How many bytes of a body must come in a second, on average over ``rateSpan``; 0 for any rate.
    var bodyRate = 1024
    /// Over how many milliseconds, one such span after the other, the rate of a body is measured.
    static let rateSpan: UInt64 = 10_000
  }

  let limits: Limits
  private let loop: EventLoop
  private var attended: [ClientConnection] = []
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in look() }

  init(loop: EventLoop, limits: Limits) {
    self.loop = loop
    self.limits = limits
  }

  /// Looks at the connection the next time.
  func attend(_ client: ClientConnection) {
    guard !client.isAttended else { return }
    client.isAttended = true
    if attended.isEmpty { start() }
    attended.append(client)
  }

  func stop() {
    timer.stop()
    for client in attended { client.endParting() }
    attended = []
  }

  private func start() {
    // A limit is kept within a tenth of it.
    let interval = min(1000, max(20, limits.head / 10))
    timer.start(after: interval, every: interval)
  }

  private func look() {
    let now = loop.now
    // Those that are attended to from here on come behind those that stay.
    let clients = attended
    attended = []
    var left: [ClientConnection] = []
    for client in clients {
      client.isAttended = client.needsAnotherLook(at: now, limits)
      if client.isAttended { left.append(client) }
    }
    attended = left + attended
    if attended.isEmpty { timer.stop() }
  }
}
