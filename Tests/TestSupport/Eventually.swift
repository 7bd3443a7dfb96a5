/// How long a test waits for what has to come, whatever else the machine is doing: the one limit of the suite.
///
/// It says that nothing comes any more, not how fast anything is. If something would come by itself in less time (by a
/// timeout of the gateway's, say), the test switches that off or distinguishes it. Shorter waits are for what must not
/// come.
package let suiteLimit = Duration.seconds(90)

/// Evaluates `condition` again and again until it returns a value.
///
/// For what can only be seen by polling: a port that answers, a counter that moves, a log line.
/// - Parameters:
///   - what: what is awaited, for the error.
///   - limit: how long to continue.
///   - interval: the pause between two evaluations.
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
