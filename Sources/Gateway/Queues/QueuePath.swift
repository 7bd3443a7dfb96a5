import ByteBuffers

/// The paths of locks and elections. The name is the rest of the path, percent-encoded, as a key is at `/keys/KEY`: a
/// slash may stand in it as it is. What follows the last slash may say that something else is meant.
enum QueuePath {
  static let locks: StaticString = "/locks/"
  static let elections: StaticString = "/elections/"
  /// What follows the path of a lock or an election to renew the lease that it is held with.
  static let renewal: StaticString = "/keepalive"
  /// What follows the path of an election to observe it.
  static let changes: StaticString = "/changes"

  /// What a path leads to that begins as those of locks or elections do; nil for one of another kind.
  static func route(_ path: UnsafeBufferPointer<UInt8>) -> RouteTable.Varying? {
    guard let kind = kind(of: path) else { return nil }
    if ends(path, with: renewal) { return kind == .lock ? .lockRenewal : .electionRenewal }
    if kind == .election && ends(path, with: changes) { return .electionChanges }
    return kind == .lock ? .lock : .election
  }

  /// The kind that a path leads to, and the part of it that is the name.
  static func parts(
    of path: UnsafeBufferPointer<UInt8>
  ) -> (kind: QueueName.Kind, name: UnsafeBufferPointer<UInt8>.SubSequence)? {
    guard let kind = kind(of: path) else { return nil }
    let suffix: StaticString? =
      switch route(path) {
      case .lockRenewal, .electionRenewal: renewal
      case .electionChanges: changes
      default: nil
      }
    let rest = path.dropFirst(prefix(of: kind).utf8CodeUnitCount)
    return (kind, rest.dropLast(suffix?.utf8CodeUnitCount ?? 0))
  }

  private static func prefix(of kind: QueueName.Kind) -> StaticString { kind == .lock ? locks : elections }

  private static func kind(of path: UnsafeBufferPointer<UInt8>) -> QueueName.Kind? {
    QueueName.Kind.allCases.first { path.starts(with: prefix(of: $0).bytes) }
  }

  /// Whether a path has `suffix` behind the slash that ends its prefix, or further on.
  private static func ends(_ path: UnsafeBufferPointer<UInt8>, with suffix: StaticString) -> Bool {
    guard let kind = kind(of: path) else { return false }
    let rest = path.dropFirst(prefix(of: kind).utf8CodeUnitCount)
    return rest.count >= suffix.utf8CodeUnitCount && rest.suffix(suffix.utf8CodeUnitCount).elementsEqual(suffix.bytes)
  }
}
