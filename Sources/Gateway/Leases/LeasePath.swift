import ByteBuffers
import HTTPServer

/// The paths of leases.
enum LeasePath {
  /// The path of all leases; the path of a lease has a slash and its ID after it.
  static let all = "/leases"
  /// The end of a lease's path for its renewal.
  static let renewal = "/keepalive"
  private static let prefix: StaticString = "/leases/"

  /// The route of a path below that of leases; nil if there is none.
  static func route(_ path: UnsafeBufferPointer<UInt8>) -> RouteTable.Varying? {
    guard path.starts(with: prefix.bytes) else { return nil }
    let rest = path.dropFirst(prefix.utf8CodeUnitCount)
    guard let slash = rest.firstIndex(of: UInt8(ascii: "/")) else { return .lease }
    return rest[slash...].elementsEqual(renewal.utf8) ? .leaseRenewal : nil
  }

  /// The ID in the path of a lease.
  ///
  /// - Throws: ``RequestError`` if there is none.
  static func lease(_ path: UnsafeBufferPointer<UInt8>) throws(RequestError) -> Int64 {
    let id = path.dropFirst(prefix.utf8CodeUnitCount).prefix { $0 != UInt8(ascii: "/") }
    let text = String(decoding: id, as: UTF8.self)
    // `Int64` accepts a plus, too.
    guard id.first != UInt8(ascii: "+"), let lease = Int64(text), lease != 0 else {
      throw .badRequest("the lease: expected its ID, a decimal number other than 0, not '\(text)'")
    }
    return lease
  }
}
