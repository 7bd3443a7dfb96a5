import ByteBuffers
import Glibc
import HTTPServer
import ProtobufWire
import Synchronization

/// The page `/docs`: Swagger UI and the gateway's page around it, from the files of `scripts/install-swagger-ui`.
///
/// Each file is read once, at the first request for it, and sent from memory: slow clients cost no descriptor each, and
/// a gateway whose page is not opened uses no memory for it.
final class DocsPage: Sendable {
  /// One file, or its compressed form for clients that accept gzip.
  struct Content: Sendable {
    /// The bytes live as long as the page.
    fileprivate let shared: SocketBytes
    let isCompressed: Bool
    /// A number that is another one for another version of the file, which has another time or size.
    let version: Int64
    var bytes: UnsafeRawBufferPointer { shared.bytes }
  }

  /// A file of the page that cannot be read.
  struct MissingFile: Error {
    let path: String
  }

  private let folder: String
  /// By their paths; nil for files that cannot be read.
  private let contents = Mutex<[String: Content?]>([:])

  /// - Throws: ``MissingFile``. Compressed files may be missing.
  init(folder: String) throws(MissingFile) {
    self.folder = folder
    let paths = DocsFile.allCases.map { "\(folder)/\($0.rawValue)" }
    if let path = paths.first(where: { access($0, R_OK) != 0 }) { throw MissingFile(path: path) }
  }

  /// The folder beside the running program: `../share/etcd-rest/docs`, relative to the program's folder.
  static var folderOfProgram: String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let program = realpath("/proc/self/exe", &buffer).map { String(cString: $0) } ?? ""
    let parts = program.split(separator: "/").dropLast(2)
    return "/" + (parts + ["share", "etcd-rest", "docs"]).joined(separator: "/")
  }

  /// - Returns: nil if the file has disappeared before it was read.
  func content(of file: DocsFile, takesGzip: Bool) -> Content? {
    let path = "\(folder)/\(file.rawValue)"
    if takesGzip, let compressed = content("\(path).gz", isCompressed: true) { return compressed }
    return content(path, isCompressed: false)
  }

  private func content(_ path: String, isCompressed: Bool) -> Content? {
    contents.withLock { contents in
      if let known = contents[path] { return known }
      let content = Content(path, isCompressed: isCompressed)
      contents.updateValue(content, forKey: path)
      return content
    }
  }
}

extension DocsPage.Content {
  /// - Returns: nil if it is no readable file.
  fileprivate init?(_ path: String, isCompressed: Bool) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    var bytes = ByteBuffer(capacity: Int(status.st_size))
    var piece = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = read(descriptor, &piece, piece.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { return nil }
      if count == 0 { break }
      piece.withUnsafeBytes { bytes.append(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }
    version =
      Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec) &+ Int64(bytes.count)
    shared = SocketBytes(bytes, isShared: true)
    self.isCompressed = isCompressed
  }
}

/// The files of the page, by their names: no path of a request ever becomes a path of the file system.
enum DocsFile: String, CaseIterable {
  case index = "index.html"
  case style = "docs.css"
  case script = "docs.js"
  case swaggerStyle = "swagger-ui.css"
  case swaggerScript = "swagger-ui-bundle.js"

  /// Its path.
  var urlPath: String { self == .index ? "/docs/" : "/docs/\(rawValue)" }

  var contentType: StaticString {
    switch self {
    case .index: "text/html; charset=utf-8"
    case .style, .swaggerStyle: "text/css; charset=utf-8"
    case .script, .swaggerScript: "text/javascript; charset=utf-8"
    }
  }
}
