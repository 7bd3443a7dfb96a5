import EventLoop
import Glibc
import Logging

/// Accepts the connections that come in on a shard's listening sockets. Belongs to the shard's loop.
final class Acceptor {
  /// Takes over an accepted connection.
  typealias Handler = (_ socket: AcceptedSocket, _ listener: Listener) -> Void

  /// How many connections are accepted in a row before other events are handled.
  private static let maxAtOnce = 16
  /// How many connections may wait to be accepted (`listen`).
  static let backlog: Int32 = 1024
  /// When to try again if the system has no descriptor or memory left for a connection, in milliseconds.
  private static let recess: UInt64 = 100

  private let listeners: [Listener]
  private var watchers: [SocketWatcher] = []
  private let logger: Logger
  private let hasRoom: () -> Bool
  private let handler: Handler
  private var timer: LoopTimer?
  private var isPaused = false
  /// Whether the last connection could not be accepted.
  private var isShort = false

  /// - Parameters:
  ///   - listeners: listening sockets, which the acceptor takes over.
  ///   - hasRoom: whether one more connection can be served; after it has returned false, ``resume()`` is to be called.
  /// - Throws: `LoopError` if the loop cannot watch them.
  init(
    loop: EventLoop, listeners: [Listener], logger: Logger, hasRoom: @escaping () -> Bool, handler: @escaping Handler
  ) throws(LoopError) {
    self.listeners = listeners
    self.logger = logger
    self.hasRoom = hasRoom
    self.handler = handler
    for listener in listeners {
      let watcher = try SocketWatcher(loop: loop, descriptor: listener.descriptor) { [unowned self] _ in
        accept(listener)
      }
      watcher.watch(.readable)
      watchers.append(watcher)
    }
    timer = LoopTimer(loop: loop) { [unowned self] in resume() }
  }

  deinit { close() }

  /// There may be room again.
  func resume() {
    guard isPaused, hasRoom() else { return }
    isPaused = false
    timer?.stop()
    for watcher in watchers { watcher.watch(.readable) }
  }

  /// Accepts the connections that wait, as closing the socket would reset them, and then no more. Those of a shared
  /// socket are left to its other owners.
  func finish() {
    for listener in listeners where !listener.isShared {
      for _ in 0..<Self.backlog {
        guard hasRoom(), let socket = try? AcceptedSocket(from: listener.descriptor) else { break }
        handler(socket, listener)
      }
    }
    close()
  }

  /// Accepts no more. Clients whose connections were not accepted yet are refused.
  func close() {
    guard timer != nil else { return }
    timer = nil
    for watcher in watchers { watcher.watch([]) }
    watchers = []
    for listener in listeners { Glibc.close(listener.descriptor) }
  }

  private func pause() {
    isPaused = true
    for watcher in watchers { watcher.watch([]) }
  }

  /// Waits until the system may have room for a connection again.
  private func takeRecess(_ error: LoopError) {
    if !isShort { logger.warning("connections wait to be accepted: \(error)") }
    isShort = true
    pause()
    timer?.start(after: Self.recess)
  }

  private func accept(_ listener: Listener) {
    for _ in 0..<Self.maxAtOnce {
      guard hasRoom() else { return pause() }
      do throws(LoopError) {
        guard let socket = try AcceptedSocket(from: listener.descriptor) else { return }
        isShort = false
        handler(socket, listener)
      } catch {
        return takeRecess(error)
      }
    }
  }
}
