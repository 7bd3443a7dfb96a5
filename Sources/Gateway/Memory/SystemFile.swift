import Glibc

/// The small files by which the system describes itself, below `/proc` and `/sys`.
enum SystemFile {
  /// Far more than any of them has, in bytes.
  private static let limit = 1 << 20

  /// The content of a file; empty if it cannot be read.
  static func text(of path: String) -> String {
    guard let file = fopen(path, "re") else { return "" }
    defer { fclose(file) }
    var text: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 16 << 10)
    while text.count < limit {
      let count = fread(&piece, 1, piece.count, file)
      guard count > 0 else { break }
      text += piece[..<count]
    }
    return String(decoding: text, as: UTF8.self)
  }
}
