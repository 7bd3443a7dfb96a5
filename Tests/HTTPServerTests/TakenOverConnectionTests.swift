import EventLoop
import Glibc
import Testing

@testable import HTTPServer

/// Sockets that were taken over, on a loop with nothing else.
@Suite(.timeLimit(.minutes(15)))
struct TakenOverConnectionTests {
  private final class Owner: TakenOverConnectionDelegate {
    var roomCount = 0

    func socketHasRoom(_ socket: TakenOverConnection) { roomCount += 1 }
    func socketHasStalled(_ socket: TakenOverConnection, _ reason: StaticString) {}
    func socketIsGone(_ socket: TakenOverConnection) {}
  }

  /// As many as are flushed in one turn, and more; what is queued late wakes the loop.
  @Test(arguments: [1, 256, 600])
  func whatIsQueuedAfterTheFlushGoesOutInTheNextTurns(_ count: Int) throws {
    let loop = try EventLoop()
    let trimmer = MemoryTrimmer(loop: loop)
    let memory = MemoryAccount(MemoryBudget(bytes: 1 << 20), trimmer: trimmer)
    let sockets = TakenOverConnections(loop: loop, stallLimit: 60_000, memory: memory, trimmer: trimmer)
    let owner = Owner()
    let bytes = SocketBytes("x")
    var peers: [Int32] = []
    var clients: [TakenOverConnection] = []
    for _ in 0..<count {
      var pair: [Int32] = [-1, -1]
      try #require(socketpair(AF_UNIX, SocketConstants.nonBlockingStream, 0, &pair) == 0)
      peers.append(pair[1])
      let client = TakenOverConnection(sockets, delegate: owner)
      client.open(pair[0])
      clients.append(client)
    }
    defer { for peer in peers { close(peer) } }
    var turns = 0
    loop.beforeWaiting { [unowned loop, unowned sockets, unowned bytes] in
      turns += 1
      sockets.flush()
      if turns == 1 { for client in clients { client.send(bytes.bytes, of: bytes) } }
      if owner.roomCount == count { loop.stop() }
    }
    loop.run()
    #expect(clients.allSatisfy { $0.backlog == 0 })
    // And at the end without another turn.
    for client in clients { client.send(bytes.bytes, of: bytes) }
    sockets.close()
    var received = [UInt8](repeating: 0, count: 10)
    for peer in peers { #expect(recv(peer, &received, 10, 0) == 2) }
  }
}
