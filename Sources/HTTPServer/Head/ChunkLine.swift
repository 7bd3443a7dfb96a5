/// The line before a chunk (RFC 9112, section 7.1), if it still exists.
enum ChunkLine {
  /// Whether the bytes before a piece of a chunked body are a line that every parser reads in the same way:
  /// libmicrohttpd before 1.0 accepts a bare LF as its end, and anything as an extension.
  ///
  /// A line that arrived alone is overwritten by the time its chunk arrives. So a faulty line may stay undetected, and
  /// nothing that follows on the connection may be taken for a request.
  ///
  /// - Parameters:
  ///   - start: the beginning of the body in libmicrohttpd's buffer.
  ///   - piece: the beginning of the piece; equal to `start` if the piece continues a chunk.
  static func isSound(from start: UnsafePointer<UInt8>, to piece: UnsafePointer<UInt8>, within size: Int) -> Bool {
    guard piece > start, piece - start <= size else { return true }
    let before = HeadBytes(start: start, count: piece - start)
    guard endsWithCRLF(before) else { return false }
    let line = HeadBytes(rebasing: before.dropLast(2))
    // The line is preceded by the end of the previous chunk, if that still exists.
    let lineFeed = line.lastIndex(of: 0x0A)
    if let lineFeed, !endsWithCRLF(HeadBytes(rebasing: line[...lineFeed])) { return false }
    let text = line[(lineFeed.map { $0 + 1 } ?? 0)...]
    return !text.isEmpty && text.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
  }

  private static func endsWithCRLF(_ bytes: HeadBytes) -> Bool {
    bytes.count >= 2 && bytes[bytes.count - 2] == 0x0D && bytes[bytes.count - 1] == 0x0A
  }
}
