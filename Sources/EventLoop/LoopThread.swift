internal import CLibuv
import Glibc

/// An identifier of the calling thread.
var currentThread: UInt { UInt(pthread_self()) }

/// A thread that serves a loop.
package struct LoopThread: Sendable {
  private let thread: pthread_t

  /// Starts a thread that runs `loop` until it is stopped. From then on the loop and all that was made on it belong to
  /// that thread.
  ///
  /// - Parameters:
  ///   - name: shown by the system's tools, its first 15 bytes.
  ///   - loop: a loop that does not run yet.
  package init(name: String, running loop: LoopBound<EventLoop>) {
    var thread = pthread_t()
    let start = Unmanaged.passRetained(Start(name: name, loop: loop))
    let code = pthread_create(
      &thread, nil,
      { context in
        let start = Unmanaged<Start>.fromOpaque(context!).takeRetainedValue()
        name_this_thread(start.name)
        start.loop.value.run()
        return nil
      }, start.toOpaque())
    precondition(code == 0, "no thread for \(name): \(String(cString: strerror(code)))")
    self.thread = thread
  }

  /// Waits until the loop has ended. To be called once.
  package func join() { pthread_join(thread, nil) }

  private final class Start {
    let name: String
    let loop: LoopBound<EventLoop>

    init(name: String, loop: LoopBound<EventLoop>) {
      self.name = name
      self.loop = loop
    }
  }
}
