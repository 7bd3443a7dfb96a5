import Glibc

/// The folder of the page `/docs`: Swagger UI and our page around it, as `scripts/install-swagger-ui` makes it.
struct DocsFolder: Sendable {
  let path: String

  /// The one that belongs to the running program: `../share/etcd-rest/docs`, seen from where that is installed.
  static var ofProgram: DocsFolder {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let program = realpath("/proc/self/exe", &buffer).map { String(cString: $0) } ?? ""
    let parts = program.split(separator: "/").dropLast(2)
    return DocsFolder(path: "/" + (parts + ["share", "etcd-rest", "docs"]).joined(separator: "/"))
  }

  /// The first file that the page needs and cannot be read; nil where all is well.
  var missingFile: String? {
    DocsFile.allCases.map { "\(path)/\($0.rawValue)" }.first { access($0, R_OK) != 0 }
  }

  /// Opens a file, or what stands in its place for clients that take gzip, where that is there and they do.
  ///
  /// - Returns: nil where neither is there.
  func open(_ file: DocsFile, takesGzip: Bool) -> OpenFile? {
    if takesGzip, let compressed = OpenFile("\(path)/\(file.rawValue).gz", isCompressed: true) { return compressed }
    return OpenFile("\(path)/\(file.rawValue)", isCompressed: false)
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

/// A file that is open, until it is given away or goes.
struct OpenFile: ~Copyable {
  private let descriptor: Int32
  /// In bytes.
  let size: UInt64
  let isCompressed: Bool
  private let modified: timespec

  /// - Returns: nil for what is no file that can be read.
  init?(_ path: String, isCompressed: Bool) {
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      return nil
    }
    self.descriptor = descriptor
    self.isCompressed = isCompressed
    size = UInt64(status.st_size)
    modified = status.st_mtim
  }

  /// What tells it from what stood or will stand in its place, which has another time or another size.
  var version: Int64 {
    Int64(modified.tv_sec) &* 1_000_000_000 &+ Int64(modified.tv_nsec) &+ Int64(size)
  }

  deinit { close(descriptor) }

  /// Gives the descriptor away, to somebody who closes it.
  consuming func release() -> Int32 {
    let descriptor = descriptor
    discard self
    return descriptor
  }
}
