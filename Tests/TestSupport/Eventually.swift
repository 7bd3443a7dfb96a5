/// How long a test waits for what has to come, whatever else the machine is doing: the one limit of the suite.
///
/// It says that nothing comes any more, not how fast anything is. What would come by itself in less time than that (a
/// timeout of the gateway's, say) is switched off or told apart by the test. Shorter waits are for what must not come.
package let suiteLimit = Duration.seconds(90)

/// Asks `condition` again and again until it yields a value.
///
/// For what only shows itself by looking: a port that answers, a counter that moves, a log line.
/// - Parameters:
///   - what: what is awaited, for the error.
///   - limit: how long to go on asking.
///   - interval: the pause between two looks.
/// - Throws: `TestSupportError` at the limit; what `condition` throws, at once.
package func eventually<Value>(
  _ what: @autoclosure () -> String,
  within limit: Duration = suiteLimit,
  every interval: Duration = .milliseconds(5),
  isolation: isolated (any Actor)? = #isolation,
  _ condition: () async throws -> Value?
) async throws -> Value {
  let deadline = ContinuousClock.now + limit
  while true {
    if let value = try await condition() { return value }
    guard ContinuousClock.now < deadline else { throw TestSupportError("no \(what()) within \(limit)") }
    try await Task.sleep(for: interval)
  }
}
