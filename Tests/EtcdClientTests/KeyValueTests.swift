import EtcdClient
import Testing
import TestSupport

/// Keys and transactions, against real etcds.
@Suite struct KeyValueTests {
  @Test(arguments: ClientSetting.all)
  func keysAreWrittenReadAndDeleted(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      let put = try await client.put("k", "one")
      #expect(put.previous == nil)
      #expect(put.header.revision > 0 && put.header.clusterID != 0 && put.header.memberID.rawValue != 0)
      let second = try await client.put("k", "two", .returnsPrevious)
      #expect(second.previous?.value == "one")
      let get = try await client.get("k")
      #expect(get.count == 1 && !get.more)
      let found = try #require(get.first)
      #expect(found.key == "k" && found.value == "two" && found.version == 2 && found.lease == nil)
      #expect(found.createRevision == put.header.revision && found.modRevision == second.header.revision)
      let old = try await client.get("k", .init(revision: put.header.revision))
      #expect(old.first?.value == "one")
      try await client.put("k", "", .ignoresValue)
      #expect(try await client.get("k").first?.value == "two")
      let deleted = try await client.delete("k", returnsPrevious: true)
      #expect(deleted.deleted == 1 && deleted.previous.map(\.value) == ["two"])
      #expect(try await client.get("k").first == nil)
      #expect(try await client.delete("k").deleted == 0)
    }
  }

  @Test(arguments: ClientSetting.all)
  func rangesHaveTheRightKeys(setting: ClientSetting) async throws {
    let keys: [Bytes] = ["a", "a/", "a/1", "a/2", "b", [0xff], [0xff, 0xff], [0xff, 0xff, 1], [0x61, 0xff], [0]]
    try await withClient(setting) { client, _ in
      for key in keys { try await client.put(key, "") }
      let ranges: [KeyRange] = [
        .all, .prefix(""), .prefix("a"), .prefix("a/"), .prefix([0xff]), .prefix([0xff, 0xff]), .prefix([0x61, 0xff]),
        .from("a/1"), .from(""), .from("a", upTo: "a/2"), .from("b", upTo: "a"), .from("", upTo: [0]),
        .from("", upTo: ""),
        .key("a"), .key("nothing"),
      ]
      for range in ranges {
        let found = try await client.get(range: range, .init(keysOnly: true))
        #expect(found.keyValues.map(\.key) == keys.sorted().filter { range.contains($0) }, "\(range)")
      }
      #expect(try await client.delete(prefix: [0xff, 0xff]).deleted == 2)
      #expect(try await client.get(prefix: [0xff]).count == 1)
      #expect(try await client.delete(range: .all).deleted == 8)
    }
  }

  @Test(arguments: ClientSetting.all)
  func optionsOfReadsAreAsked(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      var revisions: [Int64] = []
      for (key, value) in [("b", "2"), ("a", "3"), ("c", "1")] as [(Bytes, Bytes)] {
        revisions.append(try await client.put(key, value).header.revision)
      }
      func keys(_ options: GetOptions) async throws -> [Bytes] {
        try await client.get(range: .all, options).keyValues.map(\.key)
      }
      #expect(try await keys(.init()) == ["a", "b", "c"])
      #expect(try await keys(.init(sort: .descending(.key))) == ["c", "b", "a"])
      #expect(try await keys(.init(sort: .ascending(.value))) == ["c", "b", "a"])
      #expect(try await keys(.init(sort: .ascending(.modRevision))) == ["b", "a", "c"])
      #expect(try await keys(.init(sort: .descending(.createRevision))) == ["c", "a", "b"])
      #expect(try await keys(.init(modRevisions: revisions[1]...revisions[1])) == ["a"])
      #expect(try await keys(.init(createRevisions: revisions[1]...revisions[2])) == ["a", "c"])
      #expect(try await keys(.init(revision: revisions[1])) == ["a", "b"])
      let limited = try await client.get(range: .all, .init(limit: 2, serializable: true))
      #expect(limited.more && limited.count == 3 && limited.keyValues.count == 2)
      let counted = try await client.get(range: .all, .init(countOnly: true))
      #expect(counted.count == 3 && counted.keyValues.isEmpty)
      #expect(try await client.get("a", .init(keysOnly: true)).first?.value == "")
    }
  }

  @Test(arguments: ClientSetting.all)
  func transactionsDoAllOrNothing(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      let txn: Txn = .if(.version(of: "k", .equal, 0)).then(.put("k", "v"), .put("l", "w")).else(
        .get("k"), .delete("l"))
      let first = try await client.txn(txn)
      #expect(first.succeeded && first.results.count == 2)
      let second = try await client.txn(txn)
      #expect(!second.succeeded)
      guard case .get(let get) = second.results.first, case .delete(let delete) = second.results.last else {
        Issue.record("\(second.results)")
        return
      }
      #expect(get.first?.value == "v" && delete.deleted == 1)
      let revision = try #require(get.first).modRevision
      let holds: [Comparison] = [
        .value(of: "k", .equal, "v"), .value(of: "k", .less, "w"), .value(of: "k", .greater, "u"),
        .value(of: "k", .notEqual, "u"), .modRevision(of: "k", .equal, revision),
        .createRevision(of: "k", .less, revision + 1), .lease(of: "k", .equal, nil),
        .createRevision(of: "", .greater, 0).forAll(in: .prefix("k")),
      ]
      for comparison in holds { #expect(try await client.txn(.if(comparison)).succeeded, "\(comparison)") }
      var all = Txn()
      all.comparisons = holds
      #expect(try await client.txn(all.then(.get("k"))).succeeded)
      let nested = try await client.txn(
        .then(.txn(.if(.value(of: "k", .equal, "x")).then(.put("n", "1")).else(.get("k")))))
      guard case .txn(let inner) = nested.results.first else {
        Issue.record("\(nested.results)")
        return
      }
      #expect(!inner.succeeded && inner.results.count == 1)
    }
  }

  @Test(arguments: ClientSetting.all)
  func errorsOfKeysHaveTheirNames(setting: ClientSetting) async throws {
    try await withClient(setting, ["--max-txn-ops", "4"]) { client, etcd in
      let empty = await expectError(.emptyKey) { try await client.put("", "v") }
      #expect(empty?.name == "ErrGRPCEmptyKey" && empty?.grpcCode == .invalidArgument && empty?.endpoint == etcd.url)
      #expect(empty?.message == "etcdserver: key is not provided")
      await expectError(.emptyKey) { try await client.get("") }
      await expectError(.keyNotFound) { try await client.put("none", "", .ignoresValue) }
      await expectError(.valueProvided) { try await client.put("k", "v", .ignoresValue) }
      await expectError(.leaseProvided) { try await client.put("k", "v", lease: 5, .ignoresLease) }
      await expectError(.leaseNotFound) { try await client.put("k", "v", lease: 5) }
      await expectError(.duplicateKey) { try await client.txn(.then(.put("k", "1"), .put("k", "2"))) }
      await expectError(.tooManyOps) {
        try await client.txn(.then(.get("1"), .get("2"), .get("3"), .get("4"), .get("5")))
      }
      await expectError(.futureRev) { try await client.get("k", .init(revision: 1000)) }
      await expectError(.futureRev) { try await client.compact(1000) }
      await expectError(.requestTooLarge) { try await client.put("k", Bytes(repeatElement(7, count: 1_900_000))) }
      for _ in 0..<3 { try await client.put("k", "v") }
      let revision = try await client.put("k", "v").header.revision
      try await client.compact(revision, physical: true)
      await expectError(.compacted) { try await client.get("k", .init(revision: 2)) }
      await expectError(.compacted) { try await client.compact(2) }
    }
  }

  /// The sample in the documentation of clientv3, and this project's.
  @Test func theErrorIsCaughtByItsName() async throws {
    try await withClient(ClientSetting(version: .v3_5, hasAuth: false)) { client, _ in
      do {
        try await client.put("", "sample_value", timeout: .seconds(5))
        Issue.record("an empty key")
      } catch let error as EtcdError where error.code == .emptyKey {
        #expect("\(error)".hasPrefix("emptyKey: etcdserver: key is not provided (http://127.0.0.1:"))
      }
    }
  }
}
