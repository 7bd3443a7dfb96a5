/// The keys of a lock or an election as etcd's `concurrency` package names them: `NAME/LEASE`, with the lease's ID in
/// hexadecimal. The holder is the key that was created first.
package enum QueueKey {
  private static let slash = UInt8(ascii: "/")

  /// The key of a lease in a queue.
  package static func key(of lease: Int64, in name: [UInt8]) -> [UInt8] {
    name + [slash] + Array(String(lease, radix: 16).utf8)
  }

  /// All keys of a queue.
  package static func range(of name: [UInt8]) -> KeyRange { .prefix(Bytes(name + [slash])) }
}
