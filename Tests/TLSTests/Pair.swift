import Foundation
import TestSupport

@testable import TLS

/// Both sides of a TLS connection in one process, over a pair of sockets.
final class Pair {
  let client: TLSSession
  let server: TLSSession
  private var descriptors: [Int32]

  init(client: TLSContext, server: TLSContext, name: String = "localhost", peer: String = "server") throws {
    descriptors = try socketPair()
    self.client = TLSSession(client: client, descriptor: descriptors[0], serverName: name, peer: peer)
    self.server = TLSSession(server: server, descriptor: descriptors[1])
  }

  deinit { for descriptor in descriptors where descriptor >= 0 { close(descriptor) } }

  /// Closes the socket of the server's side.
  func closeServer() {
    hangUp(descriptors[1])
    descriptors[1] = -1
  }

  /// Drives both handshakes until neither continues.
  ///
  /// - Returns: the errors of each side.
  func shakeHands() -> (client: TLSError?, server: TLSError?) {
    var errors: [TLSError?] = [nil, nil]
    var isDone = [false, false]
    for _ in 0..<20 {
      for (index, side) in [client, server].enumerated() where !isDone[index] {
        switch side.handshake() {
        case .done: isDone[index] = true
        case .failed(let error):
          errors[index] = error
          isDone[index] = true
        case .wantsReadable, .wantsWritable: break
        }
      }
    }
    return (errors[0], errors[1])
  }
}

/// Two connected non-blocking sockets.
func socketPair() throws -> [Int32] {
  var descriptors: [Int32] = [-1, -1]
  guard socketpair(AF_UNIX, nonBlockingStream, 0, &descriptors) == 0 else {
    throw TestSupportError("socketpair: \(errno)")
  }
  return descriptors
}

/// Closes a socket so that its peer notices at once: a process that another test is starting may have a copy of it.
func hangUp(_ descriptor: Int32) {
  shutdown(descriptor, Int32(SHUT_RDWR))
  close(descriptor)
}

extension TLSSession {
  /// Everything that can be read now, and what came after that.
  func readAll() -> (text: String, end: Transfer) {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 100_000)
    while true {
      let transfer = buffer.withUnsafeMutableBytes { read(into: $0) }
      guard case .bytes(let count) = transfer else { return (String(decoding: bytes, as: UTF8.self), transfer) }
      bytes += buffer[..<count]
    }
  }

  func write(_ text: String) -> Transfer { Array(text.utf8).withUnsafeBytes { write($0) } }
}

extension TLSContext {
  static func client(authorities: String?, _ change: (inout TLSSettings) -> Void = { _ in }) throws -> TLSContext {
    var settings = TLSSettings(.client, verification: .required)
    settings.authorities = authorities
    change(&settings)
    return try TLSContext(settings)
  }

  static func server(_ files: TestAuthority.Files, _ change: (inout TLSSettings) -> Void = { _ in }) throws
    -> TLSContext
  {
    var settings = TLSSettings(.server, verification: .none)
    settings.certificate = files.certificate
    settings.key = files.key
    change(&settings)
    return try TLSContext(settings)
  }
}

/// An outcome other than the one that a test is about.
struct Unexpected: Error {
  var what = "another outcome"
}
