extension ChildProcess {
  /// A process's resources: descriptors, and memory of its own in bytes.
  package struct Holding: Sendable {
    package let descriptors: Int
    package let memory: Int
  }

  /// Its resources once its descriptors have not changed for a while, so that what was under way has ended.
  ///
  /// On a busy machine that may be too early: then the result is larger, and later comparisons with it pass.
  package func settledHolding(after pause: Duration = .seconds(1)) async throws -> Holding {
    var last = openDescriptors
    var stableSince = ContinuousClock.now
    let descriptors = try await eventually("steady number of descriptors") { () -> Int? in
      let now = openDescriptors
      if now != last { stableSince = .now }
      last = now
      return ContinuousClock.now - stableSince > pause ? now : nil
    }
    return Holding(descriptors: descriptors, memory: anonymousBytes)
  }

  /// Returns once it has no more descriptors than it had.
  package func awaitReturn(to earlier: Holding) async throws {
    _ = try await eventually("return to \(earlier.descriptors) descriptors", every: .milliseconds(20)) {
      openDescriptors <= earlier.descriptors ? true : nil
    }
  }
}
