import EventLoop

/// Watches how long clients take to send their requests: a head has an end that no progress moves, a body a least rate.
/// Belongs to its shard's loop.
///
/// One timer looks from time to time at the connections on which something has happened since it last looked; requests
/// that come and are answered in between cost nothing but a flag.
package final class RequestClock {
  package struct Limits: Sendable {
    /// How long a head may take from its first byte on, in milliseconds.
    package var head: UInt64 = 10_000
    /// How many bytes of a body must come in a second, on average over ``rateSpan``; 0 for any rate.
    package var bodyRate = 1024
    /// Over how many milliseconds, one such span after the other, the rate of a body is measured.
    static let rateSpan: UInt64 = 10_000
  }

  private let attended: AttendedList<ClientConnection>

  init(loop: EventLoop, limits: Limits) {
    // A limit is kept within a tenth of it.
    attended = AttendedList(loop: loop, every: min(1000, max(20, limits.head / 10))) {
      $0.needsAnotherLook(at: loop.now, limits)
    }
  }

  /// Looks at the connection the next time.
  func attend(_ client: ClientConnection) { attended.attend(client) }

  func stop() {
    for client in attended.stop() { client.endParting() }
  }
}
