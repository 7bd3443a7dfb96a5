/// Counts the calls for the same stream that etcd ends at once without having been of use, one after another, so that
/// members do not execute them for ever. A pure structure.
package struct VainCalls {
  /// So many in a row end the stream.
  private static let most = 3
  /// A call that lasts for so many milliseconds was of use, even without an answer.
  private static let leastUse: UInt64 = 1000

  private var count = 0
  private var began: UInt64 = 0
  private var hasBeenOfUse = false

  package init() {}

  /// A call begins.
  ///
  /// - Parameter now: the time in milliseconds.
  package mutating func begin(at now: UInt64) { (began, hasBeenOfUse) = (now, false) }

  /// The present call has brought something new.
  package mutating func wasOfUse() { hasBeenOfUse = true }

  /// The present call has ended.
  ///
  /// - Returns: whether another call is worth while.
  package mutating func mayFollow(at now: UInt64) -> Bool {
    count = hasBeenOfUse || now - min(began, now) >= Self.leastUse ? 0 : count + 1
    return count < Self.most
  }
}
