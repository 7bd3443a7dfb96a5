import Foundation
import Synchronization

/// Picks TCP ports of 127.0.0.1 for servers that must know their port before they start.
///
/// They lie below the range that the kernel gives to outgoing connections (ip(7), `ip_local_port_range`), so that no
/// connection takes one meanwhile, or while a server is down and about to be restarted on it. Each process of the tests
/// has ports of its own and goes round among them, so that no other server of the tests takes one, either.
package enum LoopbackPort {
  private static let all = 10_000..<32_000
  private static let maxProcesses = 20
  private static let own = Mutex<Ports?>(nil)

  private struct Ports {
    let range: Range<Int>
    var next: Int
  }

  /// Ports that could be bound a moment ago, all different.
  package static func pick(_ count: Int) throws -> [UInt16] {
    try own.withLock { own in
      var ports = try own ?? claim()
      var picked: [UInt16] = []
      for _ in ports.range where picked.count < count {
        let port = UInt16(ports.next)
        ports.next = ports.next + 1 < ports.range.upperBound ? ports.next + 1 : ports.range.lowerBound
        if isFree(port) { picked.append(port) }
      }
      own = ports
      guard picked.count == count else { throw TestSupportError("no \(count) free loopback ports found") }
      return picked
    }
  }

  /// Claims a part of the ports until this process ends, by a Unix socket whose name only one process can have
  /// (unix(7), "abstract"). `scripts/processes.py` claims its part in the same way.
  private static func claim() throws -> Ports {
    let share = all.count / maxProcesses
    for number in 0..<maxProcesses {
      let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      let name = "\0etcd-rest-tests-\(number)".utf8
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
      let size = MemoryLayout<sa_family_t>.size + name.count
      let isOurs = withUnsafeBytes(of: &address) {
        bind(descriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(size)) == 0
      }
      if isOurs {
        let start = all.lowerBound + number * share
        return Ports(range: start..<start + share, next: Int.random(in: start..<start + share))
      }
      close(descriptor)
    }
    throw TestSupportError("more than \(maxProcesses) processes of tests run at once")
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
