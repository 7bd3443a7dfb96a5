import Foundation

/// A release of etcd that tests run against, which `scripts/install-etcd` has put into `.build-etcd`.
///
/// Releases compare by their numbers: `version < "3.5.28"`.
package struct EtcdVersion: RawRepresentable, Comparable, Hashable, Sendable, CustomStringConvertible {
  /// Its numbers: `3.5.30`.
  package let rawValue: String

  package init(rawValue: String) {
    self.rawValue = rawValue
  }

  /// Debian 12's release; the oldest supported one.
  package static let v3_4: EtcdVersion = "3.4.23"
  /// The newest available 3.5: of Debian testing, else of the system, else ``v3_5_1``.
  package static let v3_5 = EtcdVersion(rawValue: (try? linked("3.5")) ?? "3.5")
  /// A build of upstream's. Debian's 3.5 contain another version of grpc-gateway.
  package static let v3_5_1: EtcdVersion = "3.5.1"

  /// The releases that every integration suite runs against: `@Test(arguments: EtcdVersion.allCases)`.
  package static let allCases = available(.v3_4, .v3_5)
  /// The builds of upstream's, with whose own gateway etcd-rest is compared.
  package static let ofUpstream = available(.v3_4, .v3_5_1)

  package var description: String { rawValue }

  package static func < (left: EtcdVersion, right: EtcdVersion) -> Bool {
    left.rawValue.compare(right.rawValue, options: .numeric) == .orderedAscending
  }

  /// The path of a program of this release.
  /// - Throws: `TestSupportError` naming the command that installs it.
  package func program(_ name: String) throws -> String {
    let path = "\(Self.folder)/\(rawValue)/\(name)"
    guard access(path, X_OK) == 0 else {
      throw TestSupportError("\(name) \(rawValue) is not installed at \(path): run scripts/install-etcd")
    }
    return path
  }

  /// Why the release is not available here, as `scripts/install-etcd` found; nil if it is, or was not tried.
  package static func reasonMissing(_ name: String) -> String? {
    let reason = try? String(contentsOfFile: "\(folder)/\(name).missing", encoding: .utf8)
    return reason?.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  private static let folder = "\(packageRoot)/.build-etcd"

  private static func linked(_ name: String) throws -> String {
    try FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(name)")
  }

  private static func available(_ releases: EtcdVersion...) -> [EtcdVersion] {
    releases.filter { reasonMissing($0.rawValue) == nil }
  }
}

extension EtcdVersion: ExpressibleByStringLiteral {
  package init(stringLiteral numbers: String) {
    self.init(rawValue: numbers)
  }
}

/// The folder of `Package.swift`, without a slash at its end.
package let packageRoot = URL(fileURLWithPath: #filePath)
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
