import Glibc

/// How the lines of a request's head end, seen before libmicrohttpd parses them.
///
/// libmicrohttpd before 1.0 takes LF for CRLF, and puts NULs in the place of both before it hands the head over. In the
/// last four bytes of a head, LF, a line that begins with a colon or NUL, and its end then look like CRLF twice. But
/// when libmicrohttpd has parsed the request line, the bytes after that are still as they came.
package enum LineEnds: Equatable {
  /// All are CRLF. The fields and the empty line after them have this size in bytes.
  case crlf(size: Int)
  /// A line ends with LF alone.
  case bareLF
  /// The head has not come as a whole yet, or cannot be seen.
  case unseen

  /// - Parameter bytes: what follows the request line in libmicrohttpd's memory. Bytes that have not come yet do not
  ///   matter, as the result is used only if nothing came before libmicrohttpd found the end of the head.
  init(of bytes: UnsafeRawBufferPointer) {
    self = .unseen
    guard let start = bytes.baseAddress else { return }
    let end = start + bytes.count
    var line = start
    while let lineFeed = memchr(line, 0x0A, end - line).map({ UnsafeRawPointer($0) }) {
      guard lineFeed > line, lineFeed.load(fromByteOffset: -1, as: UInt8.self) == 0x0D else {
        self = .bareLF
        return
      }
      let size = lineFeed - line
      line = lineFeed + 1
      if size == 1 {
        self = .crlf(size: line - start)
        return
      }
    }
  }
}
