import EventLoop
import Logging

/// Sends the calls of watches: the ``Bridge``.
protocol WatchCarrier: AnyObject {
  func start(_ call: Call, for caller: Caller)
  func send(_ message: consuming CallMessage, on call: Call)
  func cancel(_ call: Call)
}

/// All watches of one loop, by user.
package final class WatchHub {
  let loop: EventLoop
  unowned let carrier: any WatchCarrier
  /// How long, in milliseconds, a new watch may wait for a connection.
  let patience: UInt64
  /// How often, in milliseconds, etcd is asked for its progress, so that quiet watches resume from there.
  let progressInterval: UInt64
  /// How many watches a client may have on one stream.
  let maxWatches: Int
  /// How many bytes they may take.
  let maxWatchBytes: Int
  let logger: Logger
  /// Counts what etcd is sending; nil if that is not counted.
  package var memory: (any WatchMemory)?
  private var streams: [CallCredentials: WatchStream] = [:]
  /// The counters of watches.
  var counts = WatchCounts()
  private(set) var isClosed = false

  init(
    loop: EventLoop, carrier: any WatchCarrier, patience: UInt64, progressInterval: UInt64, maxWatches: Int,
    maxWatchBytes: Int, logger: Logger
  ) {
    self.loop = loop
    self.carrier = carrier
    self.patience = patience
    self.progressInterval = progressInterval
    self.maxWatches = maxWatches
    self.maxWatchBytes = maxWatchBytes
    self.logger = logger
  }

  /// Opens a stream of watches for a client.
  ///
  /// - Parameter caller: the client, kept while the user's stream is open.
  package func open(for caller: Caller, delegate: any WatchClientDelegate) -> WatchClient {
    let client = WatchClient(hub: self, caller: caller, delegate: delegate)
    stream(for: client).add(client)
    return client
  }

  /// How many watches clients have, and how many watchers serve them.
  var sizes: (watches: Int, watchers: Int) {
    streams.values.reduce((0, 0)) { ($0.0 + $1.watchCount, $0.1 + $1.watcherCount) }
  }

  func stream(for client: WatchClient) -> WatchStream {
    if let stream = streams[client.caller.credentials] { return stream }
    let stream = WatchStream(hub: self, caller: client.caller)
    streams[client.caller.credentials] = stream
    return stream
  }

  func remove(_ client: WatchClient, _ watches: [Watch]) {
    guard let stream = streams[client.caller.credentials] else { return }
    for watch in watches { stream.detach(watch) }
    stream.remove(client)
  }

  func forget(_ stream: WatchStream) {
    if streams[stream.caller.credentials] === stream { streams[stream.caller.credentials] = nil }
  }

  /// Ends all watches with `status`; watches that come later end when they first fail.
  func close(_ status: GRPCStatus) {
    isClosed = true
    for stream in Array(streams.values) { stream.fail(status) }
  }
}
