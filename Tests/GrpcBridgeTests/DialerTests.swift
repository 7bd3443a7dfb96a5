import EventLoop
import Glibc
import TestSupport
import Testing

@testable import GrpcBridge

/// The choice among an endpoint's addresses.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct DialerTests {
  @Test func familiesTakeTurns() {
    func order(_ hosts: [String]) -> [String] {
      Dialer.order(hosts.compactMap { SocketAddress(numericHost: $0, port: 1) }).map(\.description)
    }
    #expect(order([]) == [])
    #expect(order(["10.0.0.1", "10.0.0.2"]) == ["10.0.0.1", "10.0.0.2"])
    #expect(order(["::1", "::2", "::3", "10.0.0.1"]) == ["::1", "10.0.0.1", "::2", "::3"])
    #expect(order(["10.0.0.1", "10.0.0.2", "::1", "::2"]) == ["10.0.0.1", "::1", "10.0.0.2", "::2"])
  }

  /// The result of dialling: the port of the connection, or the reason why there is none.
  private func dial(_ endpoint: String, _ addresses: [SocketAddress]?) throws -> (port: UInt16?, reason: String?) {
    let loop = try EventLoop()
    var outcome: (port: UInt16?, reason: String?)
    let dialer = Dialer(loop: loop, endpoint: try Endpoint(endpoint)) { result in
      switch result {
      case .success(let socket): outcome = (port(ofPeerOf: socket.descriptor), nil)
      case .failure(let failure): outcome = (nil, failure.reason)
      }
      loop.stop()
    }
    withExtendedLifetime(dialer) {
      if let addresses {
        dialer.isNamed = true
        dialer.dial(addresses)
      } else {
        dialer.start()
      }
      if outcome == (nil, nil) { loop.run() }
    }
    return outcome
  }

  private func port(ofPeerOf descriptor: Int32) -> UInt16 {
    var address = sockaddr_in()
    var length = socklen_t(MemoryLayout.size(ofValue: address))
    withUnsafeMutableBytes(of: &address) {
      _ = getpeername(descriptor, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), &length)
    }
    return UInt16(bigEndian: address.sin_port)
  }

  private func address(_ port: UInt16) throws -> SocketAddress {
    try #require(SocketAddress(numericHost: "127.0.0.1", port: port))
  }

  @Test func anAddressThatDoesNotAnswerIsNotWaitedFor() throws {
    let peer = try ScriptedPeer { _ in .hang }
    let silent = try FullListener()
    let outcome = try dial("etcd", [try address(silent.port), try address(peer.port)])
    #expect(outcome.port == peer.port)
  }

  @Test func anAddressThatRefusesIsFollowedByTheNext() throws {
    var settings = ScriptedPeer.Settings()
    settings.listens = false
    let closed = try ScriptedPeer(settings: settings) { _ in .hang }
    let peer = try ScriptedPeer { _ in .hang }
    #expect(try dial("etcd", [try address(closed.port), try address(peer.port)]).port == peer.port)
    let six = try #require(SocketAddress(numericHost: "::1", port: closed.port))
    let outcome = try dial("etcd", [six, try address(closed.port)])
    #expect(outcome.reason == "::1: connection refused, 127.0.0.1: connection refused")
    #expect(try dial("http://127.0.0.1:\(closed.port)", nil).reason == "connection refused")
    #expect(try dial("localhost:\(peer.port)", nil).port == peer.port)
  }

  @Test func aNameWithoutAddressesIsSaidToBeOne() throws {
    #expect(try dial("no.such.host.invalid", nil).reason?.hasPrefix("the name does not resolve: ") == true)
    #expect(try dial("etcd", []).reason == "the name has no address")
    #expect(try dial("unix:///no/such/socket", nil).reason == "no such file or directory")
  }
}

/// A port on which connections are neither accepted nor refused: its queue is full, and further packets are dropped
/// (listen(2)).
private final class FullListener {
  let port: UInt16
  private let descriptors: [Int32]

  init() throws {
    let kind = SocketConstants.nonBlockingStream
    let listener = socket(AF_INET, kind, 0)
    let any = try #require(SocketAddress(numericHost: "127.0.0.1", port: 0))
    try #require(any.withPointer { bind(listener, $0, $1) } == 0)
    try #require(listen(listener, 0) == 0)
    let bound = SocketAddress(localOf: listener)
    port = bound.port
    // One more than the queue holds.
    descriptors =
      [listener]
      + (0..<4).map { _ in
        let client = socket(AF_INET, kind, 0)
        _ = bound.withPointer { connect(client, $0, $1) }
        return client
      }
  }

  deinit { for descriptor in descriptors { close(descriptor) } }
}
