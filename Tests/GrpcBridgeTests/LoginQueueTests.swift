import EventLoop
import Testing

@testable import GrpcBridge

@Suite struct LoginQueueTests {
  @Test func nobodyWaitsForTheCrowdOfAnother() {
    var queue = LoginQueue<String>(limit: 100)
    for number in 1...50 { #expect(queue.append("crowd \(number)", from: .test(1), as: .stranger) == nil) }
    #expect(queue.append("ann", from: .test(2), as: .stranger) == nil)
    #expect(queue.append("bob", from: .test(3), as: .stranger) == nil)
    #expect((0..<5).map { _ in queue.popFirst() } == ["crowd 1", "ann", "bob", "crowd 2", "crowd 3"])
    #expect(queue.count == 47)
  }

  @Test func whoWasLetInBeforeComesFirst() {
    var queue = LoginQueue<String>(limit: 100)
    _ = queue.append("failed", from: .test(1), as: .suspect)
    _ = queue.append("stranger", from: .test(2), as: .stranger)
    #expect(!queue.isFirstTrusted)
    _ = queue.append("known", from: .test(1), as: .trusted)
    #expect(queue.isFirstTrusted)
    #expect((0..<4).map { _ in queue.popFirst() } == ["known", "stranger", "failed", nil])
  }

  @Test func aFullQueueHasAPlaceForOthersThanItsCrowd() {
    var queue = LoginQueue<Int>(limit: 10)
    for number in 0..<10 { _ = queue.append(number, from: .test(1), as: .stranger) }
    #expect(queue.append(10, from: .test(1), as: .stranger) == 10)
    #expect(queue.append(11, from: .test(2), as: .stranger) == 9)
    #expect(queue.append(12, from: .test(1), as: .trusted) == 8)
    #expect(queue.append(13, from: .test(3), as: .suspect) == 13)
    #expect(queue.count == 10)
    #expect((0..<3).map { _ in queue.popFirst() } == [12, 0, 11])
  }
}

@Suite struct VerifiedCredentialsTests {
  private func keys(_ count: Int) -> [CredentialKey] {
    let hasher = CredentialHasher()
    return (0..<count).map { number in Array("user \(number):pw".utf8).withUnsafeBytes { hasher.key(for: $0) } }
  }

  @Test func theyAreKnownUntilTheyAreRefused() {
    let keys = keys(2)
    var verified = VerifiedCredentials(limit: 10)
    verified.insert(keys[0])
    #expect(verified.contains(keys[0]))
    #expect(!verified.contains(keys[1]))
    verified.remove(keys[0])
    #expect(!verified.contains(keys[0]))
  }

  @Test func thoseThatAreNotAskedForGoFirst() {
    let keys = keys(1000)
    var verified = VerifiedCredentials(limit: 100)
    for key in keys {
      verified.insert(key)
      #expect(verified.contains(keys[0]))
      #expect(verified.count <= 101)
    }
    #expect(verified.contains(keys[999]))
    #expect(!verified.contains(keys[500]))
  }
}
