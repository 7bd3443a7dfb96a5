import Foundation

/// Runs `body` with a fresh etcd of one member; process and data are gone when it returns, however it ends.
///
/// Authentication hashes with bcrypt's lowest cost, timers are short, and 3.5 does not sync its files: a start takes
/// about 0.1 s. Only a few such scopes run at a time; nested ones count as one.
/// - Parameters:
///   - arguments: more flags of etcd's, such as `["--auth-token-ttl", "3"]`; they take precedence over the harness's.
///   - tls: the TLS settings for clients; nil for no TLS.
package func withEtcd<Value>(
  _ version: EtcdVersion, _ arguments: [String] = [], tls: EtcdTLS? = nil,
  isolation: isolated (any Actor)? = #isolation,
  _ body: (EtcdProcess) async throws -> Value
) async throws -> Value {
  let timers = ["--heartbeat-interval", "50", "--election-timeout", "250"]
  return try await withEtcdCluster(version, members: 1, timers + arguments, tls: tls) { try await body($0[0]) }
}

/// Runs `body` with a fresh cluster; processes and data are gone when it returns, however it ends.
/// - Parameters:
///   - network: the network of the members; nil for this process's loopback device.
///   - tls: the TLS settings for clients; nil for no TLS.
package func withEtcdCluster<Value>(
  _ version: EtcdVersion, members count: Int, _ arguments: [String] = [], network: ClusterNetwork? = nil,
  tls: EtcdTLS? = nil, isolation: isolated (any Actor)? = #isolation, _ body: ([EtcdProcess]) async throws -> Value
) async throws -> Value {
  try await Turnstile.throughProcesses {
    try await withTemporaryDirectory { directory in
      let members = try await startCluster(version, members: count, arguments, network, tls, in: directory)
      return try await finally {
        try await body(members)
      } cleanup: {
        for member in members { await member.kill() }
      }
    }
  }
}

/// Runs `body` with one more member that has yet to join the cluster of `members`.
///
/// Add it to the cluster, then start it.
package func withJoiningMember<Value>(
  _ members: [EtcdProcess], isolation: isolated (any Actor)? = #isolation, _ body: (EtcdProcess) async throws -> Value
) async throws -> Value {
  try await withTemporaryDirectory { directory in
    let name = "m\(members.count)"
    let ports = try LoopbackPort.pick(2)
    let cluster = members.map { "\($0.name)=\($0.peerURL)" } + ["\(name)=http://127.0.0.1:\(ports[1])"]
    let member = EtcdProcess(
      members[0].version, name: name, directory: directory, ports: ports,
      arguments: ["--initial-cluster", cluster.joined(separator: ","), "--initial-cluster-state", "existing"])
    return try await finally {
      try await body(member)
    } cleanup: {
      await member.kill()
    }
  }
}

/// Starts all members at once, on other ports if some are taken by the time they are bound.
private func startCluster(
  _ version: EtcdVersion, members count: Int, _ arguments: [String], _ network: ClusterNetwork?, _ tls: EtcdTLS?,
  in directory: String
) async throws -> [EtcdProcess] {
  for attempt in 1... {
    let ports = try LoopbackPort.pick(3 * count)
    let cluster = (0..<count).map { number in
      "m\(number)=http://\(network?.places[number].address ?? "127.0.0.1"):\(ports[3 * number + 1])"
    }.joined(separator: ",")
    let members = try (0..<count).map { index in
      let home = "\(directory)/\(attempt)-\(index)"
      try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
      return EtcdProcess(
        version, name: "m\(index)", directory: home, ports: Array(ports[3 * index..<3 * index + 3]),
        arguments: ["--initial-cluster", cluster] + arguments, place: network?.places[index], tls: tls)
    }
    do {
      for member in members { try await member.launch() }
      for member in members { try await member.awaitHealth() }
      return members
    } catch {
      let isPortTaken = members.contains(where: \.isPortTaken)
      for member in members { await member.kill() }
      guard isPortTaken && attempt < 5 else { throw error }
    }
  }
  fatalError("the loop above ends by returning or throwing")
}

/// Runs `body` with a new empty folder, removed afterwards; by the next test process if this one is killed.
package func withTemporaryDirectory<Value>(
  isolation: isolated (any Actor)? = #isolation, _ body: (String) async throws -> Value
) async throws -> Value {
  _ = removeLeftovers
  let path = NSTemporaryDirectory() + "\(folderPrefix)\(getpid())-\(UUID().uuidString)"
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: path) }
  return try await body(path)
}

private let folderPrefix = "etcd-rest-tests-"

/// Removes, once in a process, the folders of test processes that no longer exist: an etcd's takes 120 MB.
private let removeLeftovers: Void = {
  let files = FileManager.default
  for name in (try? files.contentsOfDirectory(atPath: NSTemporaryDirectory())) ?? [] where name.hasPrefix(folderPrefix)
  {
    guard let process = Int32(name.dropFirst(folderPrefix.count).prefix { $0 != "-" }) else { continue }
    if kill(process, 0) != 0 { try? files.removeItem(atPath: NSTemporaryDirectory() + name) }
  }
}()

/// Runs `body`, then `cleanup` whether it returned or threw.
func finally<Value>(
  isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value, cleanup: () async -> Void
) async throws -> Value {
  do {
    let value = try await body()
    await cleanup()
    return value
  } catch {
    await cleanup()
    throw error
  }
}
