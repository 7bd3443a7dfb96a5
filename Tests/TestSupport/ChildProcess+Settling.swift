extension ChildProcess {
  /// A process's resources: descriptors, and memory in bytes.
  package struct Holding: Sendable {
    package let descriptors: Int
    package let memory: Int
  }

  /// Its resources once its descriptors have not changed for a while, so that what was under way has ended.
  ///
  /// On a busy machine that may be too early: then the result is larger, and later comparisons with it pass.
  package func settledHolding() async throws -> Holding {
    var last = openDescriptors
    var stableSince = ContinuousClock.now
    let descriptors = try await eventually("steady number of descriptors") { () -> Int? in
      let now = openDescriptors
      if now != last { stableSince = .now }
      last = now
      return ContinuousClock.now - stableSince > .seconds(1) ? now : nil
    }
    return Holding(descriptors: descriptors, memory: residentBytes)
  }

  /// Returns once it has no more descriptors than it had.
  package func awaitReturn(to earlier: Holding) async throws {
    _ = try await eventually("return to \(earlier.descriptors) descriptors", every: .milliseconds(20)) {
      openDescriptors <= earlier.descriptors ? true : nil
    }
  }

  /// Repeats `round` until one leaves neither a descriptor nor more than so many bytes behind.
  ///
  /// What leaks does so in each round. What the allocator has kept of one round it uses in the next.
  ///
  /// - Throws: `TestSupportError` if each of ten rounds left something behind.
  package func expectNothingLeft(
    spare bytes: Int, isolation: isolated (any Actor)? = #isolation, after round: () async throws -> Void
  ) async throws {
    try await round()
    let first = try await settledHolding()
    var holdings = [first]
    while holdings.count <= 10 {
      try await round()
      try await awaitReturn(to: first)
      let last = holdings[holdings.count - 1]
      holdings.append(try await settledHolding())
      if holdings[holdings.count - 1].memory - last.memory <= bytes { return }
    }
    throw TestSupportError("each round left more than \(bytes) bytes: \(holdings.map(\.memory))")
  }
}
