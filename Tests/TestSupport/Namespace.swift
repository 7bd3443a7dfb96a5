internal import CNamespaces
import Foundation

/// A network of its own (network_namespaces(7)) with nothing in it but a loopback device. It needs root and `ip`
/// (iproute2). The kernel removes it with its last descriptor: this object's, and those of sockets and processes
/// inside.
final class Namespace: Sendable {
  private let descriptor: Int32

  init() async throws {
    descriptor = try await onThread {
      guard unshare(CLONE_NEWNET) == 0 else { throw TestSupportError(systemCall: "unshare") }
      let descriptor = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw TestSupportError(systemCall: "open of a namespace") }
      do {
        try ip("link", "set", "lo", "up")
      } catch {
        close(descriptor)
        throw error
      }
      return descriptor
    }
  }

  deinit { close(descriptor) }

  /// The path of this namespace for ip(8).
  var path: String { "/proc/\(getpid())/fd/\(descriptor)" }

  /// Moves the calling thread, which must end with it, into the namespace.
  func enter() throws {
    guard setns(descriptor, CLONE_NEWNET) == 0 else { throw TestSupportError(systemCall: "setns") }
  }

  /// Runs `body` on a thread of its own that is in the namespace.
  func inside<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await onThread { [self] in
      try enter()
      return try body()
    }
  }
}

/// Runs `body` on a thread that ends with it: namespaces are a property of threads, and those of Swift's pool are
/// shared.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
  try await withCheckedThrowingContinuation { continuation in
    Thread { continuation.resume(with: Result(catching: body)) }.start()
  }
}

/// Runs ip(8) in the network of the calling thread.
func ip(_ arguments: String...) throws {
  let program = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].first { (path: String) in access(path, X_OK) == 0 }
  guard let program else { throw TestSupportError("there is no ip(8): install iproute2") }
  let pid = try spawn([program] + arguments, [], output: "/dev/null", error: "/dev/null")
  var status: Int32 = 0
  while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
  guard status == 0 else { throw TestSupportError("ip \(arguments.joined(separator: " ")) failed; it needs root") }
}

/// A block of four or more addresses out of 198.18.0.0/15, which is set aside for tests of networks (RFC 2544).
struct TestAddresses: Sendable {
  private let network: UInt32
  private let bits: UInt32

  /// - Parameter bits: how many bits of the addresses number the hosts.
  init(bits: UInt32) {
    self.bits = bits
    network = 0xc612_0000 | UInt32.random(in: 0..<1 << (17 - bits)) << bits
  }

  var prefixLength: UInt32 { 32 - bits }
  /// Part of the names of devices outside of namespaces.
  var tag: String { "test-" + String(network & 0x1ffff, radix: 16) }

  func address(_ host: UInt32) -> String {
    let number = network | host
    return stride(from: 24, through: 0, by: -8).map { "\(number >> $0 & 0xff)" }.joined(separator: ".")
  }
}
