import ByteBuffers
import Glibc
import HTTPServer
import ProtobufWire
import Synchronization

/// The page `/docs`: Swagger UI and our page around it, as `scripts/install-swagger-ui` makes their files.
///
/// Each is read once, when it is first asked for, and sent from memory: clients that ask for them and do not read cost
/// no descriptor each, and a gateway whose page is not opened has no memory for it.
final class DocsPage: Sendable {
  /// One file, or what stands in its place for clients that take gzip.
  struct Content: Sendable {
    /// They live as long as the page.
    fileprivate let shared: SocketBytes
    let isCompressed: Bool
    /// What tells it from what stood or will stand in its place, which has another time or another size.
    let version: Int64
    var bytes: UnsafeRawBufferPointer { shared.bytes }
  }

  /// A file that the page needs and that cannot be read.
  struct MissingFile: Error {
    let path: String
  }

  private let folder: String
  /// By their paths; nil for what cannot be read.
  private let contents = Mutex<[String: Content?]>([:])

  /// - Throws: ``MissingFile``. Compressed files need not be there.
  init(folder: String) throws(MissingFile) {
    self.folder = folder
    let paths = DocsFile.allCases.map { "\(folder)/\($0.rawValue)" }
    if let path = paths.first(where: { access($0, R_OK) != 0 }) { throw MissingFile(path: path) }
  }

  /// The folder that belongs to the running program: `../share/etcd-rest/docs`, seen from where that is installed.
  static var folderOfProgram: String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let program = realpath("/proc/self/exe", &buffer).map { String(cString: $0) } ?? ""
    let parts = program.split(separator: "/").dropLast(2)
    return "/" + (parts + ["share", "etcd-rest", "docs"]).joined(separator: "/")
  }

  /// - Returns: nil if the file has gone before it was read.
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
  /// - Returns: nil for what is no file that can be read.
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

/// The files that are served, each by its name: no path of a request ever becomes one of the file system.
enum DocsFile: String, CaseIterable {
  case index = "index.html"
  case style = "docs.css"
  case script = "docs.js"
  case swaggerStyle = "swagger-ui.css"
  case swaggerScript = "swagger-ui-bundle.js"

  /// Where it is served.
  var urlPath: String { self == .index ? "/docs/" : "/docs/\(rawValue)" }

  var contentType: StaticString {
    switch self {
    case .index: "text/html; charset=utf-8"
    case .style, .swaggerStyle: "text/css; charset=utf-8"
    case .script, .swaggerScript: "text/javascript; charset=utf-8"
    }
  }
}
