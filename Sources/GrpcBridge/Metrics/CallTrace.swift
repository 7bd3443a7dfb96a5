/// The trace that the calls of a request belong to, and what they have cost at etcd. Belongs to the loop of the calls.
package final class CallTrace {
  /// The trace of the client's; nil where it has none.
  package let context: TraceContext?
  /// How long members have had its calls, in nanoseconds, one after the other.
  package private(set) var time: UInt64 = 0
  /// The member that had the last one.
  package private(set) var endpoint: Endpoint?

  package init(_ context: TraceContext? = nil) { self.context = context }

  func add(_ time: UInt64, at endpoint: Endpoint) {
    self.time &+= time
    self.endpoint = endpoint
  }
}
