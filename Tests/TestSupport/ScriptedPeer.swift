import Foundation
import Synchronization

/// A gRPC server on loopback that follows a test's script, in place of etcd.
///
/// It speaks HTTP/2 without TLS (RFC 9113 section 3.3, prior knowledge), records everything that the client does
/// (`Record`) and answers each stream by the steps that the script returns, well-formed or not. Each peer has one
/// thread for everything, so that what a client sends on one connection is recorded and answered in order.
package final class ScriptedPeer: Sendable {
  /// Decides the answer to a stream, on the peer's thread, as soon as its first message or its end has arrived.
  package typealias Script = @Sendable (Call) -> Answer

  /// What happens to a connection the moment it is accepted.
  package enum Welcome: Sendable {
    /// Speak HTTP/2 and follow the script.
    case serve
    /// Neither read nor write, ever.
    case silence
    /// Close it at once.
    case close
    /// Write these bytes in place of HTTP/2, then close it.
    case bytes([UInt8])
  }

  package struct Settings: Sendable {
    /// SETTINGS_MAX_CONCURRENT_STREAMS; unlimited if nil.
    package var maxConcurrentStreams: UInt32?
    /// SETTINGS_INITIAL_WINDOW_SIZE in bytes; HTTP/2's 65,535 if nil.
    package var initialWindowSize: UInt32?
    /// Whether the port is open from the start; see `ScriptedPeer.listen`.
    package var listens = true
    /// The welcome of a connection, by its number (the first is 0).
    package var welcome: @Sendable (Int) -> Welcome = { _ in .serve }

    package init() {}
  }

  /// The loopback port; it stays this peer's own while it does not listen.
  package let port: UInt16
  package var endpoint: String { "http://127.0.0.1:\(port)" }

  private let shared: ScriptedPeerState

  /// Binds a port and starts serving.
  /// - Throws: `TestSupportError` if the sockets cannot be made.
  package init(settings: Settings = Settings(), script: @escaping Script) throws {
    let wakeUp = try PeerWakeUp()
    let shared = ScriptedPeerState(wake: wakeUp.wake)
    let listener = try PeerListener()
    if settings.listens { try listener.listen() }
    self.shared = shared
    port = listener.port
    let start = LoopStart(listener: listener)
    let thread = Thread {
      ScriptedPeerLoop(
        listener: start.listener, settings: settings, script: script, shared: shared, wakeUp: wakeUp
      ).run()
    }
    thread.name = "scripted-peer"
    thread.start()
  }

  deinit { shared.post(.stop) }

  /// Everything that happened until now.
  package var record: Record { shared.record }

  /// Waits until `condition` holds for the record.
  /// - Returns: the record for which it holds.
  /// - Throws: `Timeout` if it does not hold `within` the given time.
  @discardableResult
  package func wait(
    for what: String, within limit: Duration = suiteLimit, until condition: @escaping @Sendable (Record) -> Bool
  ) async throws -> Record {
    try await shared.wait(for: what, within: limit, until: condition)
  }

  /// Sends GOAWAY on one connection, or on all that are open.
  /// - Parameter lastStream: the highest stream that was or will be processed; `Int32.max` announces the end only.
  package func goAway(connection: Int? = nil, lastStream: Int32 = .max, code: UInt32 = 0) {
    shared.post(.goAway(connection: connection, lastStream: lastStream, code: code))
  }

  /// Closes one connection, or all that are open: with FIN, or with RST if `abruptly`.
  package func close(connection: Int? = nil, abruptly: Bool = false) {
    shared.post(.close(connection: connection, abruptly: abruptly))
  }

  /// Opens or closes the port; while it is closed, connecting is refused. Existing connections are not affected.
  package func listen(_ listens: Bool) {
    shared.post(.listen(listens))
  }

  /// Announces another SETTINGS_MAX_CONCURRENT_STREAMS on every open connection.
  package func limitConcurrentStreams(to limit: UInt32) {
    shared.post(.limitStreams(limit))
  }

  /// Closes the port and every connection and ends the thread; also done when the peer is no longer referenced.
  package func stop() { shared.post(.stop) }
}

extension ScriptedPeer {
  /// A stream that the script has to answer.
  package struct Call: Sendable {
    package let connection: Int
    package let stream: Int32
    /// How many streams with this `:path` have come so far, this one included.
    fileprivate(set) package var attempt: Int
    package let headers: [Header]
    /// The first gRPC message without its prefix; empty if none came.
    package let message: [UInt8]

    package var path: String { headers[":path"] ?? "" }
  }

  /// Asks a script for answers, and counts the streams for it. Belongs to one thread.
  final class Answering {
    private let script: Script
    /// How many streams came, by path.
    private var attempts: [String: Int] = [:]

    init(by script: @escaping Script) { self.script = script }

    /// Counts the stream and asks the script.
    func answer(_ call: Call) -> Answer {
      var call = call
      attempts[call.path, default: 0] += 1
      call.attempt = attempts[call.path] ?? 0
      return script(call)
    }
  }

  /// A condition was not met in time.
  package struct Timeout: Error, CustomStringConvertible {
    package let description: String
  }
}

/// Hands the listener to the loop's thread.
///
/// `@unchecked`: the initialiser does not use `PeerListener` after the thread has got it.
private struct LoopStart: @unchecked Sendable {
  let listener: PeerListener
}
