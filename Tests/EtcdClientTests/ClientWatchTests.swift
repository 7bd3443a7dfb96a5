import EtcdClient
import Testing
import TestSupport

/// Watches as asynchronous sequences, against real etcds.
@Suite struct ClientWatchTests {
  /// A watch that etcd has created.
  private func begun(_ events: WatchEvents) async throws -> WatchBatches.Iterator {
    let iterator = events.batches.makeAsyncIterator()
    let first = try #require(try await iterator.next())
    #expect(first.isCreation && first.events.isEmpty)
    return iterator
  }

  @Test(arguments: ClientSetting.all)
  func eventsComeInTheirOrder(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      let first = try await client.put("app/a", "1").header.revision
      try await client.put("other", "x")
      try await client.put("app/b", "2")
      try await client.put("app/a", "3")
      try await client.delete("app/b")
      var seen: [WatchEvent] = []
      for try await event in client.watch(prefix: "app/", from: first, .returnsPrevious) {
        seen.append(event)
        if seen.count == 4 { break }
      }
      #expect(seen.map(\.key) == ["app/a", "app/b", "app/a", "app/b"])
      #expect(seen.map(\.kind) == [.put, .put, .put, .delete])
      #expect(seen.map(\.value) == ["1", "2", "3", ""])
      #expect(seen.map(\.isCreation) == [true, true, false, false])
      #expect(seen.map(\.previous?.value) == [nil, nil, "1", "2"])
      #expect(seen.map(\.revision) == seen.map(\.revision).sorted())
    }
  }

  @Test(arguments: ClientSetting.all)
  func watchesFromNowAndTheirFilters(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      let key = try await begun(client.watch("k"))
      let puts = try await begun(client.watch(range: .from("k", upTo: "l"), .ignoresDeletions))
      let deletions = try await begun(client.watch("k", .ignoresPuts))
      try await client.put("k", "1")
      try await client.delete("k")
      try await client.txn(.then(.put("k", "2"), .put("k2", "2")))
      try await client.delete("k")
      func revisions(_ iterator: WatchBatches.Iterator, _ count: Int) async throws -> [[Bytes]] {
        var found: [[Bytes]] = []
        while found.joined().count < count { found.append(try #require(try await iterator.next()).events.map(\.value)) }
        return found
      }
      #expect(try await revisions(key, 4).joined().map(\.self) == ["1", "", "2", ""])
      // The events of one transaction come at once.
      #expect(try await revisions(puts, 3).last?.suffix(2) == ["2", "2"])
      #expect(try await revisions(deletions, 2).joined().map(\.self) == ["", ""])
    }
  }

  @Test(arguments: ClientSetting.all)
  func compactionEndsAWatchByName(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      for _ in 0..<5 { try await client.put("k", "v") }
      let revision = try await client.put("k", "v").header.revision
      try await client.compact(revision)
      let error = await expectError(.compacted) { for try await _ in client.watch("k", from: 2) {} }
      #expect(error?.compactRevision == revision && error?.name == "ErrGRPCCompacted")
      // From there on the key can be watched.
      var iterator = client.watch("k", from: revision).makeAsyncIterator()
      #expect(try await iterator.next()?.revision == revision)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func whoeverMayNotReadMayNotWatch(version: EtcdVersion) async throws {
    try await withClient(ClientSetting(version: version, hasAuth: true)) { root, etcd in
      try await root.addUser("ann", password: "pw")
      try await withClient(to: [etcd.url], .basic(user: "ann", password: "pw")) { ann in
        let error = await expectError(.permissionDenied) { for try await _ in ann.watch("k") {} }
        #expect(error?.name == "ErrGRPCPermissionDenied" && error?.grpcCode == .permissionDenied)
      }
      try await withClient(to: [etcd.url], .basic(user: "ann", password: "wrong")) { ann in
        await expectError(.authFailed) { for try await _ in ann.watch("k") {} }
      }
      try await withClient(to: [etcd.url]) { nobody in
        // This version answers the same to a client without a token.
        let code: EtcdError.Code = version == .v3_5_1 ? .permissionDenied : .userEmpty
        await expectError(code) { for try await _ in nobody.watch("k") {} }
      }
    }
  }

  @Test(arguments: ClientSetting.all)
  func aWatchSurvivesARestart(setting: ClientSetting) async throws {
    try await withClient(setting) { client, etcd in
      let watch = try await begun(client.watch(prefix: "k"))
      try await client.put("k1", "")
      #expect(try await watch.next()?.events.map(\.key) == ["k1"])
      try await etcd.stop()
      try await etcd.start()
      for index in 2...4 { try await client.put("k\(index)", "") }
      var keys: [Bytes] = []
      while keys.count < 3 { keys += try #require(try await watch.next()).events.map(\.key) }
      #expect(keys == ["k2", "k3", "k4"])
    }
  }

  @Test func aWatchThatNobodyReadsEndsAtEtcd() async throws {
    try await withClient(ClientSetting(version: .v3_5, hasAuth: false)) { client, etcd in
      var watch: WatchBatches.Iterator? = try await begun(client.watch("k"))
      let other = try await begun(client.watch("l"))
      #expect(try await etcd.watchers() == 2)
      _ = watch
      watch = nil
      _ = try await eventually("the end of the watcher") { try await etcd.watchers() == 1 ? true : nil }
      try await client.put("l", "1")
      #expect(try await other.next()?.events.count == 1)
    }
  }
}
