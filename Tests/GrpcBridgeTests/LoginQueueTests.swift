import EventLoop
import Testing

@testable import GrpcBridge

@Suite struct LoginQueueTests {
  @Test func nobodyWaitsForTheCrowdOfAnother() {
    var queue = LoginQueue<String>(limit: 100)
    for number in 1...50 { _ = queue.append("crowd \(number)", from: .test(1), as: .stranger) }
    _ = queue.append("ann", from: .test(2), as: .stranger)
    _ = queue.append("bob", from: .test(3), as: .stranger)
    let next = (0..<5).map { _ in queue.popFirst() }
    #expect(next == ["crowd 1", "ann", "bob", "crowd 2", "crowd 3"])
    #expect(queue.count == 47)
  }

  @Test func whoWasLetInBeforeComesFirst() {
    var queue = LoginQueue<String>(limit: 100)
    _ = queue.append("failed", from: .test(1), as: .suspect)
    _ = queue.append("stranger", from: .test(2), as: .stranger)
    let nobody = queue.popFirst(isTrusted: true)
    #expect(nobody == nil)
    _ = queue.append("known", from: .test(1), as: .trusted)
    let next = (0..<4).map { _ in queue.popFirst() }
    #expect(next == ["known", "stranger", "failed", nil])
  }

  @Test func whoWaitsGetsATurnAmongThoseWhoComeFirst() {
    var queue = LoginQueue<String>(limit: 1000)
    for _ in 0..<100 { _ = queue.append("known", from: .test(1), as: .trusted) }
    for _ in 0..<100 { _ = queue.append("stranger", from: .test(2), as: .stranger) }
    _ = queue.append("failed", from: .test(3), as: .suspect)
    let next = (0..<64).compactMap { _ in queue.popFirst() }
    #expect(next.prefix(8) == ["known", "known", "known", "known", "known", "known", "known", "stranger"])
    #expect(next.count { $0 == "known" } == 56)
    #expect(next.last == "failed")
    let trusted = queue.popFirst(isTrusted: true)
    #expect(trusted == "known")
  }

  @Test func aFullQueueHasAPlaceForOthersThanItsCrowd() {
    var queue = LoginQueue<Int>(limit: 10)
    for number in 0..<10 { _ = queue.append(number, from: .test(1), as: .stranger) }
    let loser1 = queue.append(10, from: .test(1), as: .stranger)
    #expect(loser1 == 10)
    let loser2 = queue.append(11, from: .test(2), as: .stranger)
    #expect(loser2 == 9)
    let loser3 = queue.append(12, from: .test(1), as: .trusted)
    #expect(loser3 == 8)
    let loser4 = queue.append(13, from: .test(3), as: .suspect)
    #expect(loser4 == 13)
    #expect(queue.count == 10)
    let next = (0..<3).map { _ in queue.popFirst() }
    #expect(next == [12, 0, 11])
  }
}

@Suite struct VerifiedCredentialsTests {
  private func keys(_ count: Int) -> [CredentialKey] {
    let hasher = CredentialHasher()
    return (0..<count).map { number in Array("user \(number):pw".utf8).withUnsafeBytes { hasher.key(for: $0) } }
  }

  private func expect(
    _ verified: inout VerifiedCredentials, _ key: CredentialKey, _ isKnown: Bool,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let contains = verified.contains(key)
    #expect(contains == isKnown, sourceLocation: sourceLocation)
  }

  @Test func theyAreKnownUntilTheyAreRefused() {
    let keys = keys(2)
    var verified = VerifiedCredentials(limit: 10)
    verified.insert(keys[0])
    expect(&verified, keys[0], true)
    expect(&verified, keys[1], false)
    verified.remove(keys[0])
    expect(&verified, keys[0], false)
  }

  @Test func thoseThatAreNotAskedForGoFirst() {
    let keys = keys(1000)
    var verified = VerifiedCredentials(limit: 100)
    for key in keys {
      verified.insert(key)
      expect(&verified, keys[0], true)
      #expect(verified.count <= 101)
    }
    expect(&verified, keys[999], true)
    expect(&verified, keys[500], false)
  }
}
