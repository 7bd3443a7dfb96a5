internal import CMicrohttpd
package import Logging

/// The version of libmicrohttpd that the process runs with, and its peculiarities.
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

  /// Whether it reads heads laxly, and trailers and chunks likewise, so that ``HeadCheck`` has to detect what it
  /// swallows.
  var isLax: Bool { isBefore([1, 0, 0]) }

  /// The value of `MHD_OPTION_STRICT_FOR_CLIENT`.
  ///
  /// Before 1.0 it would add nothing to ``HeadCheck``, and it would refuse a request without `Host` with two heads.
  /// From 1.0 on it refuses NUL, folded lines, bare CR and LF, and blanks in names (RFC 9112, sections 2.2 and 5).
  var strictness: Int { isLax ? 0 : 1 }

  /// A known fault that another version has fixed; nil if there is none.
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

/// What a status means, in words (RFC 9110, section 15).
package func reasonPhrase(_ status: UInt32) -> String { String(cString: MHD_get_reason_phrase_for(status)) }
