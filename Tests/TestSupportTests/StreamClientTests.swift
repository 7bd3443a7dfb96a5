import Glibc
import TestSupport
import Testing

/// The clients that tests of streams use, against the gateway inside etcd, and the networks in which they are cut off.
@Suite(.timeLimit(.minutes(15)))
struct StreamClientTests {
  @Test(arguments: EtcdVersion.allCases)
  func aWatchIsALineAChunk(_ version: EtcdVersion) async throws {
    try await withEtcd(version) { etcd in
      let body = #"{"create_request":{"key":"YQ=="}} {"create_request":{"key":"Yg==","watch_id":"7"}}"#
      let watch = try await JSONStream.open(etcd.url, "/v3/watch", body)
      #expect(try await watch.head().status == 200)
      for id in [nil, "7"] as [JSON?] {
        let created = try #require(try await watch.next())
        #expect(created["created"] == true && created["watch_id"] == id, "\(created)")
      }
      #expect(try await etcd.watchers() == 2)
      #expect(try await etcd.watchStreams() == 1)
      #expect(try await etcd.callsUnderWay(of: "Watch") == 1)
      try await etcd.call("/v3/kv/put", ["key": "YQ==", "value": "MQ=="])
      let event = try #require(try await watch.next()?["events"]?[0])
      #expect(event["kv"]?["value"] == "MQ==")
      await watch.reset()
      _ = try await eventually("end of the watchers") { try await etcd.watchers() == 0 ? true : nil }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aStreamEnds(_ version: EtcdVersion) async throws {
    try await withEtcd(version) { etcd in
      let keepalive = try await JSONStream.open(etcd.url, "/v3/lease/keepalive", #"{"ID":"5"}{"ID":"6"}"#)
      #expect(try await keepalive.next()?["ID"] == "5")
      #expect(try await keepalive.next()?["ID"] == "6")
      #expect(try await keepalive.next() == nil)
      let refused = try await JSONStream.open(etcd.url, "/v3/nonsense", "{}")
      #expect(try await refused.response().status == 404)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aWebSocketCarriesAWatch(_ version: EtcdVersion) async throws {
    try await withEtcd(version) { etcd in
      let socket = try await WebSocketClient.connect(etcd.url, "/v3/watch")
      try await socket.send(["create_request": ["key": "YQ=="]])
      #expect(try await socket.receiveJSON()["result"]?["created"] == true)
      try await socket.send(#"{"cancel_request":{"watch_id":0}}"#, inFragmentsOf: 3)
      #expect(try await socket.receiveJSON()["result"]?["canceled"] == true)
      await socket.close()
      // The gateway inside 3.5.30 continues the watch of a WebSocket that has gone.
      guard version != .v3_5 else { return }
      _ = try await eventually("end of the stream") { try await etcd.callsUnderWay(of: "Watch") == 0 ? true : nil }
    }
  }

  @Test func aRefusedHandshakeIsAResponse() async throws {
    try await withEtcd(.v3_5) { etcd in
      let refusal = await #expect(throws: WebSocketClient.RequestError.self) {
        _ = try await WebSocketClient.connect(etcd.url, "/v3/watch", headers: [("Sec-WebSocket-Version", "12")])
      }
      #expect(refusal.map { (400..<500).contains($0.response.status) } == true)
    }
  }

  @Test func framesAreEncodedAsTheRFCSays() {
    #expect(WebSocketFrame(1, Array("Hello".utf8), isMasked: false).encoded() == [0x81, 5] + Array("Hello".utf8))
    #expect(WebSocketFrame(9, [], isFinal: false, reserved: 4).encoded().prefix(2) == [0x49, 0x80])
    #expect(
      WebSocketFrame(2, [UInt8](repeating: 7, count: 126), isMasked: false).encoded().prefix(4) == [0x82, 126, 0, 126])
    #expect(WebSocketFrame(2, [7], isMasked: false).encoded(lengthBytes: 8) == [0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, 7])
    let masked = WebSocketFrame.close(1002, "no").encoded()
    #expect(masked.prefix(2) == [0x88, 0x84])
    let bytes = masked[6...].enumerated().map { $1 ^ masked[2 + $0 & 3] }
    #expect(bytes == [0x3, 0xea] + Array("no".utf8))
  }

  @Test(.needsNetworkNamespaces) func aClientIsCutOffWithoutAWord() async throws {
    let network = try await NetworkNamespace()
    let listener = try Listener(address: network.hostAddress)
    let client = try await HTTPConnection.connect(to: "http://\(network.hostAddress):\(listener.port)", in: network)
    let peer = try await eventually("connection") { listener.accept() }
    defer { close(peer) }
    try await client.send("a")
    #expect(try await eventually("byte") { received(peer) } == "a")
    try await network.drop()
    try await client.send("b")
    await client.close()
    // Neither the byte nor the FIN arrives, however long one waits; this time is enough to see a packet of either.
    await #expect(throws: TestSupportError.self) {
      _ = try await eventually("byte", within: .milliseconds(300)) { received(peer) }
    }
    try await network.restore()
    #expect(try await eventually("byte sent again") { received(peer) } == "b")
    #expect(try await eventually("end") { received(peer) } == "")
  }
}

/// The bytes that have come, "" at the end of the connection; nil if there are none yet.
private func received(_ socket: Int32) -> String? {
  var byte: UInt8 = 0
  let count = recv(socket, &byte, 1, Int32(MSG_DONTWAIT))
  return count < 0 ? nil : count == 0 ? "" : String(decoding: [byte], as: UTF8.self)
}

/// A listening socket.
private final class Listener {
  private let descriptor: Int32
  private(set) var port: UInt16 = 0

  init(address text: String) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr(text)
    var size = socklen_t(MemoryLayout.size(ofValue: address))
    let isListening = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, size) == 0 && listen(descriptor, 8) == 0 && getsockname(descriptor, $0, &size) == 0
      }
    }
    try #require(isListening, "errno \(errno)")
    port = UInt16(bigEndian: address.sin_port)
  }

  deinit {
    close(descriptor)
  }

  func accept() -> Int32? {
    let connection = Glibc.accept(descriptor, nil, nil)
    return connection < 0 ? nil : connection
  }
}
