internal import CNamespaces
import Foundation

/// A network of its own (network_namespaces(7)), joined to this process's by a pair of virtual Ethernet devices: clients
/// in it can be cut off so that not one packet of theirs, not even a FIN, arrives any more.
///
/// It needs root and `ip` (iproute2). The kernel removes the namespace and the pair with the last descriptor of it: this
/// object's, and those of the sockets opened inside.
package final class NetworkNamespace: Sendable {
  /// The address of this process, as seen from inside. Servers that clients inside shall reach listen here.
  package let hostAddress: String
  private let descriptor: Int32

  /// Makes a namespace and brings the link up.
  package init() async throws {
    // 198.18.0.0/15 is set aside for tests of networks (RFC 2544). Four addresses each: two of them are hosts.
    let network = UInt32.random(in: 0..<1 << 15) << 2
    func address(_ host: UInt32) -> String {
      let number = 0xc612_0000 | network | host
      return stride(from: 24, through: 0, by: -8).map { "\(number >> $0 & 0xff)" }.joined(separator: ".")
    }
    let (host, guest) = (address(1), address(2))
    let device = "test-" + String(network >> 2, radix: 16)
    let opened = try await onThread {
      guard unshare(CLONE_NEWNET) == 0 else { throw TestSupportError(systemCall: "unshare") }
      let descriptor = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw TestSupportError(systemCall: "open of a namespace") }
      do {
        try ip("link", "add", "client", "type", "veth", "peer", "name", device, "netns", "\(getpid())")
        try ip("address", "add", "\(guest)/30", "dev", "client")
        try ip("link", "set", "client", "up")
      } catch {
        close(descriptor)
        throw error
      }
      return descriptor
    }
    descriptor = opened
    hostAddress = host
    try await onThread {
      try ip("address", "add", "\(host)/30", "dev", device)
      try ip("link", "set", device, "up")
    }
  }

  deinit {
    close(descriptor)
  }

  /// Drops all packets between the namespace and this process from now on, both ways and without a word to either.
  package func drop() async throws {
    let host = hostAddress
    // No answer is sent, and nothing that comes is taken either: its sender is not reachable the way it came.
    try await inside { try ip("route", "add", "blackhole", "\(host)/32") }
  }

  /// Lets packets through again.
  package func restore() async throws {
    let host = hostAddress
    try await inside { try ip("route", "delete", "blackhole", "\(host)/32") }
  }

  /// Runs `body` on a thread of its own that is in the namespace.
  func inside<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await onThread { [descriptor] in
      guard setns(descriptor, CLONE_NEWNET) == 0 else { throw TestSupportError(systemCall: "setns") }
      return try body()
    }
  }

  /// Why there can be no namespaces here; nil where there can.
  package static func obstacle() async -> String? {
    do {
      _ = try await NetworkNamespace()
      return nil
    } catch {
      return "\(error)"
    }
  }
}

/// Runs `body` on a thread that ends with it: namespaces are a property of threads, and those of Swift's pool are shared.
private func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
  try await withCheckedThrowingContinuation { continuation in
    Thread { continuation.resume(with: Result(catching: body)) }.start()
  }
}

/// Runs ip(8) in the network of the calling thread.
private func ip(_ arguments: String...) throws {
  let program = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].first { (path: String) in access(path, X_OK) == 0 }
  guard let program else { throw TestSupportError("there is no ip(8): install iproute2") }
  let pid = try spawn([program] + arguments, [], output: "/dev/null", error: "/dev/null")
  var status: Int32 = 0
  while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
  guard status == 0 else { throw TestSupportError("ip \(arguments.joined(separator: " ")) failed; it needs root") }
}
