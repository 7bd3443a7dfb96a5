import Glibc

/// A connection that came in on a listening socket.
package struct AcceptedSocket {
  /// The connection, which does not block. It belongs to its holder.
  package let descriptor: Int32
  /// Who has connected; unknown over a Unix socket.
  package let peer: SocketAddress
  /// How many bytes a proxy has sent, and that were read, before those of the client.
  package let greetingSize: Int

  /// - Parameters:
  ///   - peer: who the connection is carried for, if that is another.
  ///   - greetingSize: how many bytes it took to say so.
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
      // All others are about this one connection, or there is none.
      if [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(errno) { throw LoopError(-errno) }
      return nil
    }
    // accept4(2), which would do it at once, is not among what Swift sees of the C library.
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    self.init(descriptor, peer: peer)
  }
}
