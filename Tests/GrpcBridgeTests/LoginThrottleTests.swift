import EventLoop
import Testing

@testable import GrpcBridge

/// Failed logins are counted by name and by address, and forgiven with time.
@Suite struct LoginThrottleTests {
  @Test func aNameIsHeldBackPastTheBurst() {
    var throttle = LoginThrottle(burst: 3)
    for _ in 0..<3 {
      #expect(throttle.retryAfter(user: "ann", peer: .test(1), now: 0) == nil)
      throttle.failed(user: "ann", peer: .test(1), now: 0)
    }
    #expect(throttle.retryAfter(user: "ann", peer: .test(2), now: 0) == 1)
    #expect(throttle.retryAfter(user: "bob", peer: .test(2), now: 0) == nil)
    #expect(throttle.retryAfter(user: "bob", peer: .test(1), now: 0) == 1)
  }

  @Test func oneFailureIsForgivenASecond() {
    var throttle = LoginThrottle(burst: 1)
    throttle.failed(user: "ann", peer: .test(1), now: 5000)
    throttle.failed(user: "ann", peer: .test(1), now: 5000)
    #expect(throttle.retryAfter(user: "ann", peer: .test(1), now: 5000) == 2)
    #expect(throttle.retryAfter(user: "ann", peer: .test(1), now: 6500) == 1)
    #expect(throttle.retryAfter(user: "ann", peer: .test(1), now: 7000) == nil)
  }

  @Test func aChangeOfUsersForgivesNamesButNotAddresses() {
    var throttle = LoginThrottle(burst: 1)
    throttle.failed(user: "ann", peer: .test(1), now: 0)
    throttle.forgiveUsers()
    #expect(throttle.retryAfter(user: "ann", peer: .test(2), now: 0) == nil)
    #expect(throttle.retryAfter(user: "ann", peer: .test(1), now: 0) == 1)
  }

  @Test func theFailuresOfAllTogetherAreAFlood() {
    var throttle = LoginThrottle(burst: 2)
    for index in 0..<8 { throttle.failed(user: "user \(index)", peer: .test(UInt32(index)), now: 0) }
    #expect(!throttle.isFlooded(now: 0))
    throttle.failed(user: "user", peer: .test(9), now: 0)
    #expect(throttle.isFlooded(now: 0))
    #expect(!throttle.isFlooded(now: 1000))
    // However long the failures went on, they are soon forgotten.
    for index in 0..<5000 { throttle.failed(user: "user \(index)", peer: .test(UInt32(index)), now: 2000) }
    #expect(throttle.isFlooded(now: 2000))
    #expect(!throttle.isFlooded(now: 14_000))
  }

  @Test func namesWithoutNumberDoNotFillMemory() {
    var throttle = LoginThrottle(burst: 1)
    for index in 0..<30_000 { throttle.failed(user: "user \(index)", peer: .test(UInt32(index)), now: 0) }
    #expect(throttle.bucketCount <= 20_000)
  }
}

extension Peer {
  static func test(_ number: UInt32) -> Peer { Peer(IPAddress(v4: 10 << 24 + number)) }
}
