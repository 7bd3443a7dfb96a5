import Testing

@testable import HTTPServer

/// How descriptors are divided between clients and everything else.
@Suite struct DescriptorBudgetTests {
  /// What a gateway of one shard keeps, for three members or fewer.
  private static let keptByOne = 32 + 24 + 2 * 3 * 4

  @Test func clientsGetAllThatIsNotKept() throws {
    let kept = Self.keptByOne
    for members in 0...3 {
      #expect(try DescriptorBudget(limit: 1024, shards: 1, members: members).clientsPerShard == 1024 - kept)
    }
    #expect(try DescriptorBudget(limit: 1024, shards: 1, members: 5).clientsPerShard == 1024 - kept - 2 * 2 * 4)
    #expect(try DescriptorBudget(limit: .max, shards: 1, members: 3).clientsPerShard == Int.max - kept)
  }

  /// Few descriptors for many shards: what is kept for etcd stays kept.
  @Test func littleIsDividedAmongShards() throws {
    let kept = 32 + 6 * 24 + 7 * 3 * 4
    #expect(try DescriptorBudget(limit: 300, shards: 6, members: 1).clientsPerShard == (300 - kept) / 6)
  }

  /// With the fewest that suffice, each shard has a client with TLS; with one less the gateway does not start.
  @Test(arguments: [1, 2, 6, 64, 256], [1, 3, 7])
  func tooFewAreAnError(_ shards: Int, _ members: Int) throws {
    let shortage = #expect(throws: DescriptorBudget.Shortage.self) {
      try DescriptorBudget(limit: 16, shards: shards, members: members)
    }
    let needed = try #require(shortage).needed
    let last = #expect(throws: DescriptorBudget.Shortage.self) {
      try DescriptorBudget(limit: needed - 1, shards: shards, members: members)
    }
    #expect(last?.needed == needed && last?.description.contains("the limit is \(needed - 1)") == true)
    #expect(try DescriptorBudget(limit: needed, shards: shards, members: members).clientsPerShard == 4)
  }

  /// However many there are, all shards together leave as many as are kept.
  @Test(arguments: [1, 2, 6, 64])
  func nothingThatIsKeptIsGivenAway(_ shards: Int) throws {
    let shortage = #expect(throws: DescriptorBudget.Shortage.self) {
      try DescriptorBudget(limit: 16, shards: shards, members: 3)
    }
    let needed = try #require(shortage).needed
    let kept = needed - 4 * shards
    for limit in needed..<needed + 1000 {
      let budget = try DescriptorBudget(limit: limit, shards: shards, members: 3)
      #expect(budget.clientsPerShard * shards <= limit - kept, "\(limit)")
      #expect((budget.clientsPerShard + 1) * shards > limit - kept, "\(limit)")
    }
  }
}
