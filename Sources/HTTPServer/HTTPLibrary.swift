internal import CMicrohttpd
package import Logging

/// The libmicrohttpd that the process runs with, and what its version is known for.
package struct HTTPLibrary: Sendable {
  package static let loaded = HTTPLibrary(version: String(cString: MHD_get_version()))

  package let version: String
  private let number: [Int]

  /// - Parameter version: such as `1.0.1`.
  init(version: String) {
    self.version = version
    number = version.split(separator: ".").prefix(3).map { Int($0) ?? 0 }
  }

  private func isBefore(_ other: [Int]) -> Bool { number.lexicographicallyPrecedes(other) }

  /// Whether it reads heads laxly, so that ``HeadCheck`` has to see what it swallows, and trailers and chunks likewise.
  var isLax: Bool { isBefore([1, 0, 0]) }

  /// The value of `MHD_OPTION_STRICT_FOR_CLIENT`.
  ///
  /// Before 1.0 it adds nothing to what ``HeadCheck`` sees, while the refusal of a request without `Host` is sent with
  /// two heads. From 1.0 on it has NUL, folded lines, bare CR and LF and blanks in names refused (RFC 9112, sections
  /// 2.2 and 5).
  var strictness: Int { isLax ? 0 : 1 }

  /// What is wrong with it that another version has mended; nil if nothing is known.
  var knownFault: String? {
    guard !isLax && isBefore([1, 0, 9]) else { return nil }
    return "it crashes on a long query in a request without header fields, which the gateway hides from it; "
      + "fixed in 1.0.10"
  }

  package func log(to logger: Logger) {
    if let knownFault {
      logger.warning("libmicrohttpd \(version) serves HTTP: \(knownFault)")
    } else {
      logger.info("libmicrohttpd \(version) serves HTTP")
    }
  }
}
