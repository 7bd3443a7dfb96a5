import EtcdClient
import Testing
import TestSupport

/// The code of the documentation: between `snippet.NAME` and `snippet.end` it stands there as it stands here, put in by
/// `scripts/docs`.
@Suite struct DocumentationTests {
  @Test func clientsAreMade() throws {
    // snippet.client
    let client = try EtcdClient(
      endpoints: ["localhost:2379", "localhost:22379", "localhost:32379"], dialTimeout: .seconds(5),
      credentials: .basic(user: "alice", password: "secret"))
    defer { client.close() }
    // snippet.end
    #expect(client.configuration.endpoints.count == 3)
    // snippet.configuration
    var configuration = EtcdClient.Configuration(endpoints: ["localhost:2379"])
    configuration.requestTimeout = .seconds(10)
    configuration.maxReceiveBytes = 64 << 20
    let other = try EtcdClient(configuration)
    // snippet.end
    other.close()
    // snippet.tls
    var tls = TLSConfiguration()
    tls.authorityFile = "/etc/etcd/ca.pem"
    tls.certificateFile = "/etc/etcd/client.pem"
    tls.keyFile = "/etc/etcd/client-key.pem"
    configuration.tls = tls
    // snippet.end
    #expect(configuration.tls == tls)
  }

  @Test func keysAreReadAndWritten() async throws {
    try await withClient(ClientSetting(version: .v3_5, hasAuth: false)) { client, _ in
      // snippet.first
      try await client.put("sample_key", "sample_value", timeout: .seconds(10))
      let response = try await client.get("sample_key")
      print(response.first?.value ?? "nothing", response.header.revision)
      // snippet.end
      #expect(response.first?.value == "sample_value")
      let name = "ann"
      // snippet.keys
      try await client.put("users/\(name)", "Ann")
      if let user = try await client.get("users/\(name)").first {
        print(user.value, user.value.string ?? "not text", user.value.array.count, user.modRevision)
      }
      let deleted = try await client.delete("users/\(name)", returnsPrevious: true)
      print(deleted.previous.first?.value ?? "there was none")
      // snippet.end
      #expect(deleted.previous.first?.value == "Ann")
      // snippet.ranges
      let users = try await client.get(prefix: "users/", GetOptions(limit: 100, sort: .descending(.modRevision)))
      let some = try await client.get(range: .from("users/a", upTo: "users/n"), GetOptions(keysOnly: true))
      let count = try await client.get(range: .all, GetOptions(countOnly: true)).count
      // snippet.end
      #expect(users.keyValues.isEmpty && some.keyValues.isEmpty && count == 1)
      // snippet.txn
      let result = try await client.txn(
        .if(.version(of: "config", .equal, 0))
          .then(.put("config", "defaults"))
          .else(.get("config")))
      if result.succeeded { print("there was no configuration") }
      // snippet.end
      #expect(result.succeeded)
    }
  }

  @Test func leasesAndLocksAreHeld() async throws {
    try await withClient(ClientSetting(version: .v3_5, hasAuth: false)) { client, _ in
      func work() {}
      // snippet.lease
      let lease = try await client.grantLease(ttl: .seconds(30)).id
      try await client.put("workers/1", "here", lease: lease)
      let renewal = Task {
        for try await _ in client.keepAlive(lease) {}
      }
      // snippet.end
      // snippet.lock
      let lock = try await client.lock("reports", lease: lease, timeout: .seconds(60))
      work()
      try await client.unlock(lock.key)
      renewal.cancel()
      try await client.revokeLease(lease)
      // snippet.end
      #expect(try await client.get("workers/1").count == 0)
      // snippet.cancellation
      let waiting = Task {
        for try await event in client.watch("stop") where event.kind == .put { return }
      }
      waiting.cancel()
      // snippet.end
      await #expect(throws: CancellationError.self) { try await waiting.value }
    }
  }

  @Test func watchesTellWhatHappens() async throws {
    try await withClient(ClientSetting(version: .v3_5, hasAuth: false)) { client, _ in
      func handle(_ event: WatchEvent) -> Bool { event.key != "app/end" }
      let watching = Task {
        // snippet.watch
        for try await event in client.watch(prefix: "app/") {
          switch event.kind {
          case .put: print(event.key, "is", event.value)
          case .delete: print(event.key, "is gone")
          }
          guard handle(event) else { break }
        }
        // snippet.end
      }
      // snippet.created
      let batches = client.watch("started").batches.makeAsyncIterator()
      let creation = try await batches.next()
      try await client.put("started", "now")
      let news = try await batches.next()
      // snippet.end
      #expect(creation?.isCreation == true && news?.events.map(\.value) == ["now"])
      // snippet.read-then-watch
      let known = try await client.get(prefix: "app/")
      let changes = client.watch(prefix: "app/", from: known.header.revision + 1)
      // snippet.end
      let next = Task { try await changes.first { _ in true }?.key }
      try await client.put("app/end", "")
      #expect(try await next.value == "app/end")
      // The first watch may have begun after that.
      let puts = Task {
        while !Task.isCancelled {
          try await client.put("app/end", "")
          try await Task.sleep(for: .milliseconds(10))
        }
      }
      try await watching.value
      puts.cancel()
    }
  }

  @Test func errorsAreToldApart() async throws {
    try await withClient(ClientSetting(version: .v3_5, hasAuth: false)) { client, _ in
      var said = ""
      func say(_ text: String) { said = text }
      // snippet.kinds
      do {
        try await client.put("", "sample_value", timeout: .seconds(5))
      } catch is CancellationError {
        say("the task was cancelled")
      } catch let error as EtcdError {
        switch error.code {
        case .deadlineExceeded:
          say("no answer within 5 s")
        case .emptyKey:
          say("etcd has refused the request: \(error.message)")
        case .unavailable:
          say("no member could be reached, or it broke off: \(error)")
        default:
          say("\(error.code), \(error.name ?? "without a name"), of \(error.endpoint ?? "this client")")
        }
      }
      // snippet.end
      #expect(said == "etcd has refused the request: etcdserver: key is not provided")
      // snippet.one-kind
      do {
        try await client.put("", "sample_value")
      } catch let error as EtcdError where error.code == .emptyKey {
        say(error.message)
      }
      // snippet.end
      #expect(said == "etcdserver: key is not provided")
    }
  }
}
