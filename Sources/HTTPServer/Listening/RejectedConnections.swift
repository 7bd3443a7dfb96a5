import EventLoop
import Glibc
import Logging

/// Rejects connections of addresses that have too many. Belongs to its shard's loop.
final class RejectedConnections {
  /// How many rejected connections may have time to read the answer: each needs a descriptor meanwhile, and a flood
  /// must not use these up.
  private static let maxAnswered = 32
  /// How long the log stays silent about them, in milliseconds.
  private static let silence: UInt64 = 60_000

  private unowned let sockets: TakenOverConnections
  private let counts: AddressCounts?
  private unowned let service: any HTTPService
  private let logger: Logger
  private var lastLogged: UInt64?

  init(sockets: TakenOverConnections, counts: AddressCounts?, service: any HTTPService, logger: Logger) {
    self.sockets = sockets
    self.counts = counts
    self.service = service
    self.logger = logger
  }

  /// Answers with 429, without waiting for a request, and closes the connection.
  func refuse(_ socket: AcceptedSocket, isTLS: Bool) {
    let peer = Peer(socket.peer.ipAddress)
    let reason = "\(peer) has \(counts?.most ?? 0) connections open (--max-connections-per-address)"
    let now = sockets.loop.now
    if lastLogged.map({ now - $0 >= Self.silence }) ?? true {
      lastLogged = now
      logger.warning("a connection is refused: \(reason)")
    }
    // A handshake would cost more than the answer is worth.
    guard !isTLS, sockets.partingCount < Self.maxAnswered else {
      close(socket.descriptor)
      return
    }
    let answer = BareAnswer(service.response(to: RequestError(429, reason, headers: [("Retry-After", "1")])))
    TakenOverConnection.parting(sockets, with: answer).open(socket.descriptor)
  }
}
