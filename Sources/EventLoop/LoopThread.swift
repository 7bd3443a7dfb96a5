internal import CLibuv
import Glibc

/// An identifier of the calling thread.
var currentThread: UInt { UInt(pthread_self()) }

/// Starts a thread of the system that runs `body`.
///
/// - Parameters:
///   - name: shown by the system's tools, its first 15 bytes.
/// - Returns: the thread for `pthread_join`; a thread that is not joined has to be detached.
/// - Throws: ``LoopError`` if the system grants no further thread.
private func startThread(name: String, _ body: @escaping @Sendable () -> Void) throws(LoopError) -> pthread_t {
  final class Start {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }
  var thread = pthread_t()
  let start = Unmanaged.passRetained(Start(name: name, body: body))
  let code = pthread_create(
    &thread, nil,
    { context in
      let start = Unmanaged<Start>.fromOpaque(context!).takeRetainedValue()
      name_this_thread(start.name)
      start.body()
      return nil
    }, start.toOpaque())
  guard code == 0 else {
    start.release()
    throw LoopError(-code)
  }
  return thread
}

/// Runs `body`, which may block, on a new thread that ends with it.
///
/// - Throws: ``LoopError`` if the system grants no further thread.
package func detachThread(name: String, _ body: @escaping @Sendable () -> Void) throws(LoopError) {
  pthread_detach(try startThread(name: name, body))
}

/// A thread that runs a loop.
package struct LoopThread: Sendable {
  private let thread: pthread_t

  /// Starts a thread that runs `loop` until it is stopped. From then on the loop and everything made on it belong to
  /// that thread.
  ///
  /// - Parameters:
  ///   - name: shown by the system's tools, its first 15 bytes.
  ///   - loop: a loop that does not run yet.
  /// - Throws: ``LoopError`` if the system grants no further thread.
  package init(name: String, running loop: LoopBound<EventLoop>) throws(LoopError) {
    thread = try startThread(name: name) { loop.value.run() }
  }

  /// Waits until the loop has ended. To be called once, or ``detach()``.
  package func join() { pthread_join(thread, nil) }

  /// Does not wait for the thread: it ends when the loop has ended.
  package func detach() { pthread_detach(thread) }
}

/// Gives the process's free memory back to the system, that of all threads (malloc_trim(3)). Takes up to milliseconds.
package func returnFreeMemory() { malloc_trim(0) }
