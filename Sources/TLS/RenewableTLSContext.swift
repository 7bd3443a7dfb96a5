import Glibc
import Synchronization

/// A ``TLSContext`` that is made again when its files have changed. For any number of threads.
///
/// The files are checked when the context is used for a new connection. If the new ones are invalid, the
/// context that was made of the old ones stays in use.
package final class RenewableTLSContext: Sendable {
  /// The result of a check of the files.
  package enum Look: Sendable {
    /// The files are those that the context was made from.
    case unchanged
    /// There is a new context.
    case renewed
    /// They have changed, but no context can be made of them.
    case failed(TLSError)
  }

  private struct State {
    let settings: TLSSettings
    let check: Check
    let report: @Sendable (Look) -> Void
    var context: TLSContext
    /// The files that it was made from.
    var origin: [FileStamp?]
    /// The files at the last check, valid or not.
    var stamps: [FileStamp?]
    /// What was wrong with them.
    var fault: TLSError?
  }

  package typealias Check = @Sendable (TLSContext) throws(TLSError) -> Void

  private let state: Mutex<State>

  /// Reads the files.
  ///
  /// - Parameters:
  ///   - check: decides whether a context may be used.
  ///   - report: called, on any thread, when there is a new context, and once for each change of the files from which
  ///     no context can be made.
  /// - Throws: ``TLSError`` of the kind `file`, or what `check` throws.
  package init(
    _ settings: TLSSettings, check: @escaping Check = { _ in },
    report: @escaping @Sendable (Look) -> Void
  ) throws(TLSError) {
    // The stamps come first: a file that changes while it is read differs from its stamp at the next check.
    let stamps = settings.files.map { FileStamp($0) }
    let context = try TLSContext(settings)
    try check(context)
    state = Mutex(
      State(settings: settings, check: check, report: report, context: context, origin: stamps, stamps: stamps))
  }

  /// The context for a new connection, from the files as they are now.
  package var current: TLSContext {
    look()
    return state.withLock { $0.context }
  }

  /// Until when this side's certificate in use is valid, in Unix time; nil if there is none.
  package var expiry: Int? { state.withLock { $0.context.certificateEnd } }

  /// The subject of the certificate in use, and until when it is valid, for users; nil if there is none.
  package var certificate: String? { state.withLock { $0.context.certificateText } }

  /// Checks whether the files have changed, and reads them if so.
  @discardableResult
  func look() -> Look {
    let (look, report) = state.withLock { state -> (Look, (@Sendable (Look) -> Void)?) in
      let stamps = state.settings.files.map { FileStamp($0) }
      if stamps == state.stamps { return (state.fault.map(Look.failed) ?? .unchanged, nil) }
      state.stamps = stamps
      do throws(TLSError) {
        let context = try TLSContext(state.settings)
        try state.check(context)
        state.context = context
        state.origin = stamps
        state.fault = nil
        return (.renewed, state.report)
      } catch {
        state.fault = error
        return (.failed(error), state.report)
      }
    }
    report?(look)
    return look
  }

  /// Replaces its context, settings and files with those of `other`.
  ///
  /// - Returns: whether they differ from the earlier ones.
  package func adopt(_ other: RenewableTLSContext) -> Bool {
    let new = other.state.withLock { $0 }
    return state.withLock { state in
      // Sessions that clients may resume are lost with a context.
      guard state.origin != new.origin || state.settings != new.settings else { return false }
      state = new
      return true
    }
  }

  /// Ignores the files as they are now until they change again.
  package func ignorePresentFiles() {
    state.withLock { state in state.stamps = state.settings.files.map { FileStamp($0) } }
  }
}

/// Identifies a version of a file (stat(2)); a symbolic link counts as its target.
struct FileStamp: Equatable {
  private let device: UInt
  private let inode: UInt
  private let size: Int
  private let changed: [Int]

  /// Nil if there is no such file.
  init?(_ path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    device = status.st_dev
    inode = status.st_ino
    size = status.st_size
    changed = [
      status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec,
    ]
  }
}
