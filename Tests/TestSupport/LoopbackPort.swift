import Foundation

/// Picks TCP ports of 127.0.0.1 for servers that must know their port before they start.
package enum LoopbackPort {
  /// Ports that could be bound a moment ago, all different.
  ///
  /// They lie below the range that the kernel gives to outgoing connections (ip(7), `ip_local_port_range`), so that no
  /// connection takes one meanwhile, or while a server is down and about to be restarted on it. Another server may: a
  /// caller whose server cannot bind tries again.
  package static func pick(_ count: Int) throws -> [UInt16] {
    var ports: Set<UInt16> = []
    for _ in 0..<1000 where ports.count < count {
      let port = UInt16.random(in: 10_000..<32_000)
      if isFree(port) { ports.insert(port) }
    }
    guard ports.count == count else { throw TestSupportError("no \(count) free loopback ports found") }
    return Array(ports)
  }

  private static func isFree(_ port: UInt16) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var yes: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
}
