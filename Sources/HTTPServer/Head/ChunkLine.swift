/// The line before a chunk (RFC 9112, section 7.1), where it is still to be seen.
enum ChunkLine {
  /// Whether what comes before a piece of a chunked body is a line that every parser reads in the same way:
  /// libmicrohttpd before 1.0 takes a bare LF for its end, and anything for an extension.
  ///
  /// A line that came by itself is overwritten by the time its chunk comes, so what this does not see may be wrong all
  /// the same: nothing that follows on the connection may be taken for a request.
  ///
  /// - Parameters:
  ///   - start: where the body begins in libmicrohttpd's buffer.
  ///   - piece: where the piece begins; at `start` if it goes on with a chunk.
  static func isSound(from start: UnsafePointer<UInt8>, to piece: UnsafePointer<UInt8>, within size: Int) -> Bool {
    guard piece > start, piece - start <= size else { return true }
    let before = HeadBytes(start: start, count: piece - start)
    guard endsWithCRLF(before) else { return false }
    let line = HeadBytes(rebasing: before.dropLast(2))
    // Before the line is the end of the chunk before it, if that is still there.
    let lineFeed = line.lastIndex(of: 0x0A)
    if let lineFeed, !endsWithCRLF(HeadBytes(rebasing: line[...lineFeed])) { return false }
    let text = line[(lineFeed.map { $0 + 1 } ?? 0)...]
    return !text.isEmpty && text.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
  }

  private static func endsWithCRLF(_ bytes: HeadBytes) -> Bool {
    bytes.count >= 2 && bytes[bytes.count - 2] == 0x0D && bytes[bytes.count - 1] == 0x0A
  }
}
