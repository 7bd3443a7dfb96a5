/// Lets a limited number of scopes run at a time.
///
/// Swift Testing starts all tests at once; without a limit as many etcd processes would start together, and each would
/// be too slow for its deadlines.
actor Turnstile {
  private var free: Int
  private var waiting: [CheckedContinuation<Void, Never>] = []

  init(_ places: Int) {
    free = places
  }

  func enter() async {
    if free > 0 {
      free -= 1
    } else {
      await withCheckedContinuation { waiting.append($0) }
    }
  }

  func leave() {
    if waiting.isEmpty {
      free += 1
    } else {
      waiting.removeFirst().resume()
    }
  }
}

extension Turnstile {
  /// Scopes that drive processes of their own.
  static let processes = Turnstile(6)
  /// Whether this task is inside such a scope already: an inner one must not wait for a place that its outer one holds.
  @TaskLocal private static var isInside = false

  /// Runs `body` as soon as a place is free, on the threads for tests; nested calls share the place of the outermost.
  static func throughProcesses<Value>(
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
  ) async throws -> Value {
    if isInside { return try await body() }
    await processes.enter()
    do {
      let value = try await $isInside.withValue(true) {
        try await withTaskExecutorPreference(TestThreads.shared, operation: body)
      }
      await processes.leave()
      return value
    } catch {
      await processes.leave()
      throw error
    }
  }
}
