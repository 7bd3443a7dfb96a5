internal import CMicrohttpd
import Glibc

/// libmicrohttpd's memory of a connection, which its manual calls the connection's memory pool. The library fills it
/// with zeros after each request, so that from the first request on all of its pages are resident. An idle connection
/// needs none of them.
///
/// Invariant: it is used only while libmicrohttpd has the connection, and on the loop's thread, on which the library
/// runs: nothing else writes to it meanwhile.
struct ConnectionPool {
  /// The pages in which there is nothing but the pool.
  private let pages: UnsafeMutableRawBufferPointer

  /// Finds the pool of a connection. No call of the library tells where it is, but the first request line is at its
  /// start, unless the client has sent empty lines before it.
  ///
  /// - Parameters:
  ///   - line: the connection's first request line.
  ///   - size: the size of the pool in bytes, as `MHD_OPTION_CONNECTION_MEMORY_LIMIT` has it.
  /// - Returns: nil if `line` is not at the start of memory of that size by what glibc's allocator notes there. Then
  ///   the pool's pages stay resident.
  init?(startingAt line: UnsafePointer<CChar>, size: Int) {
    let address = Int(bitPattern: line)
    // No allocation begins with a page: its size is noted before it.
    guard address % 16 == 0, address % Self.pageSize != 0 else { return nil }
    // As `malloc` rounds it, with three flags in the lowest bits.
    let noted = (size + MemoryLayout<Int>.size + 15) & ~15
    guard Int(allocation_note(line)) & ~7 == noted else { return nil }
    let first = (address / Self.pageSize + 1) * Self.pageSize
    let end = (address + size) / Self.pageSize * Self.pageSize
    guard first < end else { return nil }
    pages = UnsafeMutableRawBufferPointer(start: UnsafeMutableRawPointer(bitPattern: first), count: end - first)
  }

  private static let pageSize = sysconf(Int32(_SC_PAGESIZE))

  /// Gives the pages back to the system if they have nothing but zeros, which is what they have again when they are
  /// next used: whatever the library has the memory for, nothing is different for it.
  func releaseIfZero() {
    guard let start = pages.baseAddress, start.load(as: UInt64.self) == 0,
      memcmp(start, start + 8, pages.count - 8) == 0
    else { return }
    madvise(start, pages.count, Int32(MADV_DONTNEED))
  }
}
