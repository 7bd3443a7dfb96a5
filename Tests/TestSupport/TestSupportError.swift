import Foundation

/// A failure of the harness, or of a process that it drives, in one line.
package struct TestSupportError: Error, CustomStringConvertible {
  package let description: String

  package init(_ description: String) {
    self.description = description
  }

  /// A failed system call with the text of `errno`; make it right after the call.
  init(systemCall: String) {
    description = "\(systemCall): \(String(cString: strerror(errno)))"
  }
}
