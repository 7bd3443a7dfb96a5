import ByteBuffers

/// The paths of locks and elections. The name is the rest of the path, percent-encoded, like a key in `/keys/KEY`: it
/// may contain slashes. The part after the last slash may select another operation.
enum QueuePath {
  static let locks: StaticString = "/locks/"
  static let elections: StaticString = "/elections/"
  /// The end of a lock's or an election's path for the renewal of the holder's lease.
  static let renewal: StaticString = "/keepalive"
  /// The end of an election's path for its observation.
  static let changes: StaticString = "/changes"

  /// The route of a path below that of locks or elections; nil if there is none.
  static func route(_ path: UnsafeBufferPointer<UInt8>) -> RouteTable.Varying? {
    guard let kind = kind(of: path) else { return nil }
    if ends(path, with: renewal) { return kind == .lock ? .lockRenewal : .electionRenewal }
    if kind == .election && ends(path, with: changes) { return .electionChanges }
    return kind == .lock ? .lock : .election
  }

  /// The route of a path, and the part that is the name.
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

  /// Whether a path ends with `suffix`, at the earliest at the slash after its prefix.
  private static func ends(_ path: UnsafeBufferPointer<UInt8>, with suffix: StaticString) -> Bool {
    guard let kind = kind(of: path) else { return false }
    let rest = path.dropFirst(prefix(of: kind).utf8CodeUnitCount)
    return rest.count >= suffix.utf8CodeUnitCount && rest.suffix(suffix.utf8CodeUnitCount).elementsEqual(suffix.bytes)
  }
}
