import Testing

@testable import GrpcBridge

/// How much a peer may send that carries nothing.
@Suite struct EmptyTrafficTests {
  @Test func aFloodIsTooMuchAndATrickleIsNot() {
    var traffic = EmptyTraffic(at: 0)
    var now: UInt64 = 0
    // A PING every 2 ms for an hour.
    for _ in 0..<1_800_000 {
      now += 2
      traffic.received(17, at: now)
    }
    #expect(!traffic.isTooMuch)
    // Ten in each millisecond.
    var count = 0
    while !traffic.isTooMuch && count < 1_000_000 {
      now += 1
      for _ in 0..<10 { traffic.received(17, at: now) }
      count += 1
    }
    #expect((EmptyTraffic.most / 170...EmptyTraffic.most / 150).contains(count), "\(count)")
  }

  @Test func whatCarriesSomethingIsNeverTooMuch() {
    var traffic = EmptyTraffic(at: 0)
    // A byte in each frame, and two WINDOW_UPDATE.
    for _ in 0..<1_000_000 {
      traffic.received(10 + 26, at: 0)
      traffic.carried(1)
    }
    #expect(!traffic.isTooMuch)
    // Calls that are answered by headers alone.
    for _ in 0..<100_000 {
      traffic.called()
      traffic.received(2000, at: 0)
    }
    #expect(!traffic.isTooMuch)
  }

  /// Answers that are under way when their calls are cancelled.
  @Test func whatIsForNobodyAnyMoreIsBorne() {
    var traffic = EmptyTraffic(at: 0)
    for _ in 0..<100 { traffic.cancelled() }
    traffic.received(Int(HTTP2Session.connectionWindow), at: 0)
    #expect(!traffic.isTooMuch)
    for _ in 0..<1000 { traffic.cancelled() }
    traffic.received(EmptyTraffic.mostCancelled + 1, at: 0)
    #expect(traffic.isTooMuch)
  }

  @Test func numbersDoNotOverflow() {
    var traffic = EmptyTraffic(at: 0)
    traffic.received(1 << 40, at: .max)
    traffic.carried(1 << 40)
    traffic.received(1, at: 5)
    #expect(!traffic.isTooMuch)
  }
}
