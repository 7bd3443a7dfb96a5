/// What the calls of a request have cost at etcd, for whoever wants to know. Belongs to the loop of the calls.
package final class CallTrace {
  /// How long members have had its calls, in nanoseconds, one after the other.
  package private(set) var time: UInt64 = 0
  /// The member that had the last one.
  package private(set) var endpoint: Endpoint?

  package init() {}

  func add(_ time: UInt64, at endpoint: Endpoint) {
    self.time &+= time
    self.endpoint = endpoint
  }
}
