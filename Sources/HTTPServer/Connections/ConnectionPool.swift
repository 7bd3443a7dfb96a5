import Glibc

/// libmicrohttpd's memory of a connection, in its manual the connection's memory pool. libmicrohttpd fills the pool
/// with zeros after each request, so that all of its pages are resident from the first request on. An idle connection
/// needs none of them.
///
/// Invariant: the pool is used only while libmicrohttpd has the connection, and on the loop's thread, on which
/// libmicrohttpd runs, so that nothing else writes to it meanwhile.
struct ConnectionPool {
  /// The pages that contain only the pool.
  private let pages: UnsafeMutableRawBufferPointer
  /// An address to which the pool extends.
  let end: UnsafeRawPointer

  /// Finds the pool of a connection. No function of libmicrohttpd gives its address, but what it reads first is at its
  /// start: a head, unless the client has sent empty lines before that.
  ///
  /// - Parameters:
  ///   - head: the head of the connection's first request.
  ///   - before: how many bytes may have come before the head.
  ///   - size: the size of the pool in bytes (`MHD_OPTION_CONNECTION_MEMORY_LIMIT`).
  /// - Returns: nil if so much may have come before the head that nothing can be said.
  init?(beginningWith head: HeadBytes, after before: Int, size: Int) {
    guard let start = UnsafeRawPointer(head.baseAddress), before >= 0, before <= size - head.count else { return nil }
    end = start + (size - before)
    let first = (Int(bitPattern: start) + Self.pageSize - 1) / Self.pageSize * Self.pageSize
    let last = Int(bitPattern: end) / Self.pageSize * Self.pageSize
    pages = UnsafeMutableRawBufferPointer(
      start: UnsafeMutableRawPointer(bitPattern: first), count: max(0, last - first))
  }

  private static let pageSize = sysconf(Int32(_SC_PAGESIZE))

  /// Gives the pages back to the system if they contain only zeros. As the system gives zeros when they are next used,
  /// nothing changes for libmicrohttpd, whatever it uses the memory for.
  func releaseIfZero() {
    guard pages.count > 0, let start = pages.baseAddress, start.load(as: UInt64.self) == 0,
      memcmp(start, start + 8, pages.count - 8) == 0
    else { return }
    madvise(start, pages.count, Int32(MADV_DONTNEED))
  }
}
