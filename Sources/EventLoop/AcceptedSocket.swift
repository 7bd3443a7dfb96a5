import Glibc

/// A connection that came in on a listening socket.
package struct AcceptedSocket {
  /// The connection, which is non-blocking. It belongs to the owner of this value.
  package let descriptor: Int32
  /// The address of the client; unknown over a Unix socket.
  package let peer: SocketAddress
  /// How many bytes a proxy has sent before those of the client; they were read already.
  package let greetingSize: Int

  /// - Parameters:
  ///   - peer: the client, also if a proxy has made the connection.
  ///   - greetingSize: how many bytes the proxy has sent before the client's.
  package init(_ descriptor: Int32, peer: SocketAddress, greetingSize: Int = 0) {
    self.descriptor = descriptor
    self.peer = peer
    self.greetingSize = greetingSize
  }

  /// Accepts the next connection, if there is one (accept(2)).
  ///
  /// - Returns: nil if there is none, or one that broke before it was accepted.
  /// - Throws: ``LoopError`` if the system has no descriptor or memory left for it.
  package init?(from listener: Int32) throws(LoopError) {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout.size(ofValue: storage))
    let (descriptor, peer) = withUnsafeMutableBytes(of: &storage) { bytes in
      let address = bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self)
      let descriptor = accept(listener, address, &length)
      return (descriptor, SocketAddress(address, length: min(length, socklen_t(bytes.count))))
    }
    guard descriptor >= 0 else {
      // Other errors concern this one connection, or mean that there is none.
      if [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(errno) { throw LoopError(-errno) }
      return nil
    }
    // Swift does not see accept4(2), which would do this in one call.
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    self.init(descriptor, peer: peer)
  }
}
