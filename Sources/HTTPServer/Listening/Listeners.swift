import EventLoop
import Glibc

/// A socket on which one shard listens.
package struct Listener: Sendable {
  let descriptor: Int32
  let isTLS: Bool
  /// Whether each connection begins with a header of the PROXY protocol.
  let isProxied: Bool
  /// Whether it serves only metrics and probes.
  let isAdmin: Bool
  /// Whether others accept from the same socket, now or later: then waiting connections need not be accepted before it
  /// is closed.
  let isShared: Bool
}

/// Why an address cannot be listened on, in one line.
package struct ListenFailure: Error, CustomStringConvertible {
  package let description: String

  init(_ address: ListenAddress, _ reason: String) { description = "cannot listen on \(address): \(reason)" }

  /// - Parameter code: the system's `errno`.
  init(_ address: ListenAddress, code: Int32) { self.init(address, String(cString: strerror(code)).lowercased()) }
}

/// The sockets of a gateway: for each address, one for each shard.
///
/// The kernel spreads connections over TCP sockets that share a port (socket(7), SO_REUSEPORT). A Unix socket, or a
/// socket that was given to the process, is shared by all shards: a connection goes to the first shard that accepts it.
package struct Listeners: Sendable {
  /// How often to try to find a port that is free on all addresses of a host.
  private static let maxAttempts = 20

  /// The sockets of each shard. The shard closes them.
  package private(set) var shards: [[Listener]]
  /// The addresses of these sockets, with their actual ports.
  package private(set) var addresses: [ListenAddress] = []
  private var files: [UnixSocketFile] = []
  private let reusesPort: Bool

  /// - Parameters:
  ///   - reusesPort: whether other processes may share the ports, if these allow that, too.
  ///   - given: the sockets that were opened before the process started.
  /// - Throws: ``ListenFailure`` if a name does not resolve, an address is in use, a socket's file cannot be made or a
  ///   socket was not given. Then nothing is left open.
  package init(
    _ addresses: [ListenAddress], shards count: Int, reusesPort: Bool = false, given: GivenSockets = GivenSockets()
  ) throws(ListenFailure) {
    self.reusesPort = reusesPort
    shards = Array(repeating: [], count: count)
    do throws(ListenFailure) {
      for address in addresses {
        switch address.place {
        case .unix(let path): try open(path, as: address)
        case .tcp(let host, let port): try open(host, port, as: address)
        case .given(let name):
          for socket in try given.sockets(named: name, as: address) { add(socket, as: address) }
        }
      }
    } catch {
      close()
      throw error
    }
  }

  /// Closes the sockets of the shards from `index` on, which no shard has taken over, and removes the files.
  package func close(from index: Int = 0) {
    for listener in shards.dropFirst(index).joined() { Glibc.close(listener.descriptor) }
    removeFiles()
  }

  /// Removes the files of Unix sockets, so that clients no longer find them.
  package func removeFiles() {
    for file in files { file.remove() }
  }

  private mutating func add(_ sockets: [Int32], of address: ListenAddress, isShared: Bool = false) {
    for (shard, socket) in sockets.enumerated() {
      shards[shard].append(
        Listener(
          descriptor: socket, isTLS: address.isTLS, isProxied: address.isProxied, isAdmin: address.isAdmin,
          isShared: isShared))
    }
  }

  private mutating func open(_ path: String, as address: ListenAddress) throws(ListenFailure) {
    let (file, socket) = try UnixSocketFile.listen(path, as: address)
    files.append(file)
    add(copies(of: socket), of: address)
    addresses.append(address)
  }

  /// Takes over a given socket.
  private mutating func add(_ socket: Int32, as address: ListenAddress) {
    add(copies(of: socket), of: address, isShared: true)
    let local = SocketAddress(localOf: socket)
    let place: ListenAddress.Place =
      switch local.family {
      case AF_UNIX: .unix(path: local.description)
      default: .tcp(host: local.description, port: local.port)
      }
    addresses.append(
      ListenAddress(place, isTLS: address.isTLS, isProxied: address.isProxied, isAdmin: address.isAdmin))
  }

  /// A copy for each shard.
  private func copies(of socket: Int32) -> [Int32] {
    [socket] + shards.dropFirst().map { _ in fcntl(socket, F_DUPFD_CLOEXEC, 0) }
  }

  private mutating func open(_ host: String, _ port: UInt16, as address: ListenAddress) throws(ListenFailure) {
    // The two addresses for "all addresses" count as two hosts, so that both are bound.
    let hosts = host.isEmpty ? ["0.0.0.0", "::"] : [host]
    var found: [(host: String, address: SocketAddress)] = []
    for host in hosts {
      for address in SocketAddress.resolve(host: host, port: port) { found.append((host, address)) }
    }
    if found.isEmpty { throw ListenFailure(address, "the host does not resolve") }
    // A port that is free on one address may be in use on another.
    var attemptsLeft = port == 0 && found.count > 1 ? Self.maxAttempts : 1
    var opened: Result<[[Int32]], LoopError>
    repeat {
      opened = Self.sockets(shards.count, atAll: found.map(\.address), port: port, reusesPort: reusesPort)
      attemptsLeft -= 1
    } while opened.hasFailed(with: EADDRINUSE) && attemptsLeft > 0
    switch opened {
    case .failure(let error): throw ListenFailure(address, code: -error.code)
    case .success(let all):
      for (found, sockets) in zip(found, all) {
        guard let socket = sockets.first else { continue }
        add(sockets, of: address)
        let port = SocketAddress(localOf: socket).port
        let bound = ListenAddress(
          .tcp(host: found.host, port: port), isTLS: address.isTLS, isProxied: address.isProxied,
          isAdmin: address.isAdmin)
        if addresses.last != bound { addresses.append(bound) }
      }
    }
  }

  /// Opens `count` sockets on each of the addresses, all on one port. Addresses that this machine does not have are
  /// skipped, if at least one remains.
  private static func sockets(
    _ count: Int, atAll addresses: [SocketAddress], port: UInt16, reusesPort: Bool
  ) -> Result<[[Int32]], LoopError> {
    var port = port
    var all: [[Int32]] = []
    var missing: LoopError?
    for address in addresses {
      do throws(LoopError) {
        let sockets = try sockets(count, at: address, port: port, reusesPort: reusesPort)
        port = SocketAddress(localOf: sockets[0]).port
        all.append(sockets)
      } catch {
        guard error.code == -EADDRNOTAVAIL || error.code == -EAFNOSUPPORT else {
          for socket in all.joined() { Glibc.close(socket) }
          return .failure(error)
        }
        missing = error
        all.append([])
      }
    }
    if let missing, all.allSatisfy(\.isEmpty) { return .failure(missing) }
    return .success(all)
  }

  /// Opens `count` sockets on one address and port, which they share.
  private static func sockets(
    _ count: Int, at address: SocketAddress, port: UInt16, reusesPort: Bool
  ) throws(LoopError) -> [Int32] {
    // Sockets with a shared port do not notice that another program has it, so the first attempt is made without
    // sharing.
    if !reusesPort { Glibc.close(try socket(at: address, port: port, sharing: false)) }
    var sockets: [Int32] = []
    do throws(LoopError) {
      sockets.append(try socket(at: address, port: port, sharing: true))
      let port = SocketAddress(localOf: sockets[0]).port
      for _ in 1..<count { sockets.append(try socket(at: address, port: port, sharing: true)) }
    } catch {
      for socket in sockets { Glibc.close(socket) }
      throw error
    }
    return sockets
  }

  private static func socket(at address: SocketAddress, port: UInt16, sharing: Bool) throws(LoopError) -> Int32 {
    let descriptor = Glibc.socket(address.family, SocketConstants.nonBlockingStream, 0)
    guard descriptor >= 0 else { throw LoopError(-errno) }
    func set(_ level: Int32, _ option: Int32) {
      var one: Int32 = 1
      setsockopt(descriptor, level, option, &one, socklen_t(MemoryLayout.size(ofValue: one)))
    }
    set(SOL_SOCKET, SO_REUSEADDR)
    if sharing { set(SOL_SOCKET, SO_REUSEPORT) }
    // `::` leaves the port of IPv4 to other sockets, such as the gateway's own for it (ipv6(7)).
    if address.family == AF_INET6 { set(SocketConstants.ipv6, IPV6_V6ONLY) }
    noticeVanishedPeer(descriptor)
    var storage = address.storage
    let code = withUnsafeMutableBytes(of: &storage) { bytes in
      // The port is at the same offset in both kinds of address (ip(7), ipv6(7)).
      bytes.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
      return bind(descriptor, bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self), address.length)
    }
    guard code == 0, listen(descriptor, Acceptor.backlog) == 0 else {
      let error = LoopError(-errno)
      Glibc.close(descriptor)
      throw error
    }
    return descriptor
  }
}

extension Result<[[Int32]], LoopError> {
  fileprivate func hasFailed(with code: Int32) -> Bool {
    if case .failure(let error) = self { error.code == -code } else { false }
  }
}
