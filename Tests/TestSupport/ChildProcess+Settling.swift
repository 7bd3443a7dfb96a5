extension ChildProcess {
  /// What a process holds on to: descriptors, and memory in bytes.
  package struct Holding: Sendable {
    package let descriptors: Int
    package let memory: Int
  }

  /// What it holds once its descriptors have not changed for a while, so that what was under way has come to its end.
  ///
  /// On a busy machine that may be too early: then it is more than what stays, and what is compared with it later
  /// passes.
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

  /// Returns once it holds no more than it did, but for so many bytes.
  package func awaitReturn(to earlier: Holding, spare bytes: Int = .max) async throws {
    let limit = earlier.memory.addingReportingOverflow(bytes)
    _ = try await eventually(
      "return to \(earlier): \(openDescriptors) descriptors, \(residentBytes) bytes", every: .milliseconds(20)
    ) { () -> Bool? in
      openDescriptors <= earlier.descriptors && (limit.overflow || residentBytes < limit.partialValue) ? true : nil
    }
  }
}
