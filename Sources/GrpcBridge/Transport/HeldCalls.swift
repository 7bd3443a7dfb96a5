/// Calls that wait for the same answer. Calls that have ended are removed from time to time, so that clients that come
/// and leave do not make the list grow. A pure structure.
struct HeldCalls {
  private static let least = 64

  private var calls: [Call] = []
  /// The number of calls at which those that have ended are removed.
  private var limit = Self.least

  init() {}

  init(_ call: Call) { calls = [call] }

  /// Adds a call that its channel holds.
  mutating func append(_ call: Call) {
    if calls.count >= limit {
      calls.removeAll { !$0.isHeld }
      limit = max(Self.least, 2 * calls.count)
    }
    calls.append(call)
  }

  /// Removes and returns all calls. Some may have ended already, or end while the caller goes through them.
  mutating func takeAll() -> [Call] {
    defer { self = HeldCalls() }
    return calls
  }
}
