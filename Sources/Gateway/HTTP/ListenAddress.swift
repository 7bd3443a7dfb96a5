import EventLoop
import Glibc

/// Where the gateway listens: `HOST:PORT`.
struct ListenAddress: Sendable, CustomStringConvertible {
  let host: String
  let port: UInt16

  /// Reads `HOST:PORT`, `:PORT` (all addresses) or `[IPV6]:PORT`; nil where it is none of these.
  init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
    var host = text[..<colon]
    if host.hasPrefix("[") && host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.utf8.contains(UInt8(ascii: ":")) {
      return nil
    }
    self.host = host.isEmpty ? "0.0.0.0" : String(host)
    self.port = port
  }

  init(host: String, port: UInt16) {
    self.host = host
    self.port = port
  }

  var description: String { host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)" }

  /// Why an address cannot be listened on, in one line.
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// Opens `count` listening sockets on the same port, between which the kernel spreads connections (socket(7),
  /// SO_REUSEPORT).
  ///
  /// - Returns: the sockets, and the address with the port that was got where it was 0.
  /// - Throws: ``Failure`` where the name does not resolve or the address is in use.
  func listen(count: Int) throws(Failure) -> (sockets: [Int32], address: ListenAddress) {
    guard let address = SocketAddress.resolve(host: host, port: port).first else {
      throw Failure(description: "cannot listen on \(self): the host does not resolve")
    }
    // Sockets that share their port never see that another program has it: the first try is made without sharing.
    close(try open(address, sharing: false))
    var sockets: [Int32] = []
    do throws(Failure) {
      sockets.append(try open(address, sharing: true))
      let bound = SocketAddress(localOf: sockets[0])
      while sockets.count < count { sockets.append(try open(bound, sharing: true)) }
      return (sockets, ListenAddress(host: host, port: bound.port))
    } catch {
      sockets.forEach { close($0) }
      throw error
    }
  }

  private func open(_ address: SocketAddress, sharing: Bool) throws(Failure) -> Int32 {
    func failure() -> Failure {
      Failure(description: "cannot listen on \(self): \(String(cString: strerror(errno)).lowercased())")
    }
    let type = SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
    let descriptor = socket(address.family, Int32(type), 0)
    guard descriptor >= 0 else { throw failure() }
    var one: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout.size(ofValue: one)))
    if sharing {
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &one, socklen_t(MemoryLayout.size(ofValue: one)))
    }
    noticeVanishedPeer(descriptor)
    guard address.withPointer({ bind(descriptor, $0, $1) }) == 0, Glibc.listen(descriptor, 1024) == 0 else {
      let error = failure()
      close(descriptor)
      throw error
    }
    return descriptor
  }

}
