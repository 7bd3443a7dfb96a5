/// Calls that wait for the same answer. Those that have ended are dropped from time to time, so that clients who come
/// and leave do not make it grow. A pure structure.
struct HeldCalls {
  private static let least = 64

  private var calls: [Call] = []
  /// With how many it is looked through the next time.
  private var limit = Self.least

  init() {}

  init(_ call: Call) { calls = [call] }

  /// Adds a call that is held by its channel.
  mutating func append(_ call: Call) {
    if calls.count >= limit {
      calls.removeAll { !$0.isHeld }
      limit = max(Self.least, 2 * calls.count)
    }
    calls.append(call)
  }

  /// Takes all of them out. Some may not be held any longer, or not by the time that it is their turn.
  mutating func takeAll() -> [Call] {
    defer { self = HeldCalls() }
    return calls
  }
}
