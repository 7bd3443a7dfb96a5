extension GatewayProcess {
  /// Does `round` four times, and expects that the last three leave neither descriptors nor more than so many bytes
  /// behind.
  ///
  /// What the allocator keeps of freed memory differs by megabytes. So memory is compared after the gateway has given
  /// it back to the system, which it does once a crowd of clients has gone. How much that is depends on when the last
  /// of them goes: several crowds come, and what leaks is there after each of them. The gateway needs a single shard.
  ///
  /// - Parameter plainURL: where it serves without TLS, for the crowds.
  /// - Throws: `TestSupportError` if more than that is left.
  package func expectNothingLeft(
    spare bytes: Int, plainURL: String, isolation: isolated (any Actor)? = #isolation,
    after round: () async throws -> Void
  ) async throws {
    try await round()
    let first = try await leastHolding(plainURL)
    for _ in 0..<3 { try await round() }
    var last: [Int] = []
    for _ in 0..<4 {
      let holding = try await leastHolding(plainURL)
      try await process.awaitReturn(to: first)
      last.append(holding.memory)
      if holding.memory - first.memory <= bytes { return }
    }
    throw TestSupportError("\(first.memory) bytes have become \(last)")
  }

  /// The resources after two crowds, whichever leaves less memory.
  private func leastHolding(_ url: String) async throws -> ChildProcess.Holding {
    var holdings: [ChildProcess.Holding] = []
    for _ in 0..<2 {
      // More than the gateway has to have seen before it gives memory back.
      let crowd = try await withThrowingTaskGroup(of: HTTPConnection.self) { group in
        for _ in 0..<600 {
          group.addTask {
            let connection = try await HTTPConnection.connect(to: url)
            _ = try await connection.get("/livez")
            return connection
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      for connection in crowd { await connection.close() }
      // It gives memory back every 5 s at most.
      holdings.append(try await process.settledHolding(after: .seconds(6)))
    }
    return holdings[0].memory < holdings[1].memory ? holdings[0] : holdings[1]
  }
}
