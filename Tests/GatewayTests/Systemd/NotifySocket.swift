import EventLoop
import Glibc
import Synchronization
import TestSupport

/// The socket on which a service manager receives notifications (sd_notify(3)).
final class NotifySocket: Sendable {
  private let descriptor: Int32
  private let received = Mutex<[String]>([])

  /// - Parameter name: a path, or `@` and a name for a socket without a file.
  init(_ name: String) throws {
    descriptor = socket(AF_UNIX, SocketConstants.datagram, 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(name.utf8)
    withUnsafeMutableBytes(of: &address.sun_path) { path in
      path.copyBytes(from: bytes)
      if bytes.first == UInt8(ascii: "@") { path[0] = 0 }
    }
    let length = socklen_t(MemoryLayout<sockaddr_un>.offset(of: \.sun_path)! + bytes.count)
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
    }
    guard code == 0 else { throw TestSupportError("no socket \(name): \(errno)") }
  }

  deinit { close(descriptor) }

  /// The messages so far.
  var messages: [String] {
    received.withLock { received in
      withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
        while true {
          let count = recv(descriptor, buffer.baseAddress, buffer.count, SocketConstants.dontWait)
          guard count >= 0 else { break }
          received.append(String(decoding: buffer.prefix(count), as: UTF8.self))
        }
      }
      return received
    }
  }

  /// The messages so far, without those of the watchdog.
  var states: [String] { messages.filter { $0 != "WATCHDOG=1" } }
}
