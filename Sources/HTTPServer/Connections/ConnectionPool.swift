internal import CMicrohttpd
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

  /// Finds the pool of a connection. No function of libmicrohttpd gives its address, but the connection's first request
  /// line is at its start, unless the client has sent empty lines before that.
  ///
  /// - Parameters:
  ///   - line: the connection's first request line.
  ///   - size: the size of the pool in bytes (`MHD_OPTION_CONNECTION_MEMORY_LIMIT`).
  /// - Returns: nil if glibc's allocator has not noted memory of that size at `line`. Then the pool's pages stay
  ///   resident.
  init?(startingAt line: UnsafePointer<CChar>, size: Int) {
    let address = Int(bitPattern: line)
    // Memory from the allocator never begins with a page, as its size is noted before it.
    guard address % 16 == 0, address % Self.pageSize != 0 else { return nil }
    // The size as `malloc` rounds it. The note has three flags in its lowest bits.
    let noted = (size + MemoryLayout<Int>.size + 15) & ~15
    guard Int(allocation_note(line)) & ~7 == noted else { return nil }
    let first = (address / Self.pageSize + 1) * Self.pageSize
    let end = (address + size) / Self.pageSize * Self.pageSize
    guard first < end else { return nil }
    pages = UnsafeMutableRawBufferPointer(start: UnsafeMutableRawPointer(bitPattern: first), count: end - first)
  }

  private static let pageSize = sysconf(Int32(_SC_PAGESIZE))

  /// Gives the pages back to the system if they contain only zeros. As the system gives zeros when they are next used,
  /// nothing changes for libmicrohttpd, whatever it uses the memory for.
  func releaseIfZero() {
    guard let start = pages.baseAddress, start.load(as: UInt64.self) == 0,
      memcmp(start, start + 8, pages.count - 8) == 0
    else { return }
    madvise(start, pages.count, Int32(MADV_DONTNEED))
  }
}
