import EventLoop

/// Watches how long clients take to send their requests: a head has a time limit that no progress extends, a body has a
/// minimum rate. Belongs to its shard's loop.
///
/// One timer checks at intervals the connections on which something has happened since its last check. A request that
/// is answered in between costs only a flag.
package final class RequestClock {
  package struct Limits: Sendable {
    /// How long a head may take from its first byte on, in milliseconds.
    package var head: UInt64 = 10_000
    /// How many bytes of a body must come each second, on average over ``rateSpan``; 0 for no minimum.
    package var bodyRate = 1024
    /// The milliseconds over which the rate of a body is measured, one such span after the other.
    static let rateSpan: UInt64 = 10_000
  }

  private let attended: AttendedList<ClientConnection>

  init(loop: EventLoop, limits: Limits) {
    // A limit is kept to within a tenth of it.
    attended = AttendedList(loop: loop, every: min(1000, max(20, limits.head / 10))) {
      $0.needsAnotherLook(at: loop.now, limits)
    }
  }

  /// Checks the connection the next time.
  func attend(_ client: ClientConnection) { attended.attend(client) }

  func stop() {
    for client in attended.stop() { client.endParting() }
  }
}
