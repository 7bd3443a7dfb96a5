package import Glibc

/// A socket address, ready for `connect` or `bind`.
package struct SocketAddress: Sendable, CustomStringConvertible {
  package let storage: sockaddr_storage
  package let length: socklen_t
  package var family: Int32 { Int32(storage.ss_family) }

  init(_ address: UnsafePointer<sockaddr>, length: socklen_t) {
    var storage = sockaddr_storage()
    withUnsafeMutableBytes(of: &storage) {
      $0.copyMemory(from: UnsafeRawBufferPointer(start: address, count: Int(length)))
    }
    self.storage = storage
    self.length = length
  }

  /// - Parameter address: nil for that of a Unix socket without a path.
  package init(_ address: IPAddress?, port: UInt16) {
    var storage = sockaddr_storage()
    guard let address else {
      storage.ss_family = sa_family_t(AF_UNIX)
      self.storage = storage
      length = socklen_t(MemoryLayout<sa_family_t>.size)
      return
    }
    length = withUnsafeMutableBytes(of: &storage) { bytes in
      if address.isV4 {
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.low).bigEndian
        withUnsafeBytes(of: name) { bytes.copyMemory(from: $0) }
        return socklen_t(MemoryLayout<sockaddr_in>.size)
      }
      var name = sockaddr_in6()
      name.sin6_family = sa_family_t(AF_INET6)
      name.sin6_port = port.bigEndian
      withUnsafeMutableBytes(of: &name.sin6_addr) {
        $0.storeBytes(of: address.high.bigEndian, as: UInt64.self)
        $0.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      withUnsafeBytes(of: name) { bytes.copyMemory(from: $0) }
      return socklen_t(MemoryLayout<sockaddr_in6>.size)
    }
    self.storage = storage
  }

  /// The local address of a socket (`getsockname`).
  package init(localOf descriptor: Int32) {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout.size(ofValue: storage))
    withUnsafeMutableBytes(of: &storage) {
      _ = getsockname(descriptor, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), &length)
    }
    self.storage = storage
    self.length = length
  }

  /// The address without its port; nil if it is a Unix socket's.
  package var ipAddress: IPAddress? { withPointer { address, _ in IPAddress(address) } }

  /// The port of an IPv4 or IPv6 address.
  package var port: UInt16 {
    // The port is at the same offset in both kinds of address (ip(7), ipv6(7)).
    withUnsafeBytes(of: storage) { UInt16(bigEndian: $0.load(fromByteOffset: 2, as: UInt16.self)) }
  }

  package func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    withUnsafeBytes(of: storage) { body($0.baseAddress!.assumingMemoryBound(to: sockaddr.self), length) }
  }

  /// Resolves a host and port on the calling thread, which may block: for use before a server starts.
  ///
  /// - Returns: the addresses found, none if the name does not resolve.
  package static func resolve(host: String, port: UInt16) -> [SocketAddress] {
    var hints = Self.hints
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, String(port), &hints, &found) == 0 else { return [] }
    defer { freeaddrinfo(found) }
    return list(found)
  }

  /// Reads a numeric address; nil if `host` is a name.
  package init?(numericHost host: String, port: UInt16) {
    var hints = Self.hints
    hints.ai_flags = AI_NUMERICHOST
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, String(port), &hints, &found) == 0, let info = found else { return nil }
    defer { freeaddrinfo(found) }
    self.init(info.pointee.ai_addr, length: info.pointee.ai_addrlen)
  }

  /// Makes the address of a Unix socket (unix(7)); nil if the path is empty, has a zero byte or more than 107 bytes.
  package init?(unixPath path: String) {
    var address = sockaddr_un()
    let capacity = MemoryLayout.size(ofValue: address.sun_path)
    guard !path.isEmpty, path.utf8.count < capacity, !path.utf8.contains(0) else { return nil }
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    self = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        SocketAddress($0, length: socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }

  /// Makes the address of a Unix socket without a file (unix(7), "abstract"); nil if the name is empty or has more than
  /// 107 bytes.
  package init?(abstractName name: Substring) {
    var address = sockaddr_un()
    let capacity = MemoryLayout.size(ofValue: address.sun_path)
    guard !name.isEmpty, name.utf8.count < capacity else { return nil }
    address.sun_family = sa_family_t(AF_UNIX)
    // The name comes after a zero byte, and the length says where it ends.
    withUnsafeMutableBytes(of: &address.sun_path) { path in
      UnsafeMutableRawBufferPointer(rebasing: path[1...]).copyBytes(from: name.utf8)
    }
    let length = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)! + 1 + name.utf8.count
    self = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { SocketAddress($0, length: socklen_t(length)) }
    }
  }

  /// The numeric address without its port, or the path of a Unix socket.
  package var description: String {
    withUnsafeBytes(of: storage) { bytes in
      let address = bytes.baseAddress!
      switch family {
      case AF_INET: return Self.text(AF_INET, address + MemoryLayout.offset(of: \sockaddr_in.sin_addr)!)
      case AF_INET6: return Self.text(AF_INET6, address + MemoryLayout.offset(of: \sockaddr_in6.sin6_addr)!)
      default:
        let path = bytes[MemoryLayout.offset(of: \sockaddr_un.sun_path)!...]
        return String(decoding: path.prefix { $0 != 0 }, as: UTF8.self)
      }
    }
  }

  private static func text(_ family: Int32, _ address: UnsafeRawPointer) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { buffer in
      inet_ntop(family, address, buffer.baseAddress, socklen_t(buffer.count)).map { String(cString: $0) } ?? "?"
    }
  }

  static var hints: addrinfo {
    var hints = addrinfo()
    hints.ai_socktype = SocketConstants.stream
    return hints
  }

  static func list(_ first: UnsafeMutablePointer<addrinfo>?) -> [SocketAddress] {
    sequence(first: first, next: { $0?.pointee.ai_next }).prefix { $0 != nil }.compactMap { info in
      info.map { SocketAddress($0.pointee.ai_addr, length: $0.pointee.ai_addrlen) }
    }
  }
}
