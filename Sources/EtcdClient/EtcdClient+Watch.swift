internal import EtcdSchema
public import GrpcBridge
internal import SwiftProtobuf

/// Watching keys (etcd documentation, "etcd API", "Watch API"). <doc:Watching> says what a watch guarantees.
extension EtcdClient {
  /// The changes of a key: see ``watch(range:from:_:)``.
  public func watch(_ key: Bytes, from revision: Int64 = 0, _ options: WatchOptions = []) -> WatchEvents {
    watch(range: .key(key), from: revision, options)
  }

  /// The changes of all keys that begin with `prefix`: see ``watch(range:from:_:)``.
  public func watch(prefix: Bytes, from revision: Int64 = 0, _ options: WatchOptions = []) -> WatchEvents {
    watch(range: .prefix(prefix), from: revision, options)
  }

  /// The changes of a range of keys, in the order of their revisions.
  ///
  /// A watch begins when it is iterated, and ends at etcd when its iterator is released, or its task is cancelled. If
  /// its member or its stream fails, it continues at another one: nothing is missed, and nothing comes twice. Watches
  /// of a client share one stream, and equal watches share one watcher at etcd.
  ///
  /// - Parameters:
  ///   - range: the keys.
  ///   - revision: the first revision of changes; 0 for changes from now on.
  ///   - options: what to leave out, and what to add.
  /// - Returns: events, which throw ``EtcdError`` if the watch cannot continue, among others with
  ///   ``EtcdError/Code/compacted`` if the changes that it needs were compacted and
  ///   ``EtcdError/Code/permissionDenied``, and `CancellationError` if the task is cancelled.
  public func watch(range: KeyRange, from revision: Int64 = 0, _ options: WatchOptions = []) -> WatchEvents {
    let request = Etcdserverpb_WatchCreateRequest.with {
      $0.key = .init(range.start)
      $0.rangeEnd = .init(range.end)
      $0.startRevision = revision
      $0.prevKv = options.contains(.returnsPrevious)
      $0.progressNotify = options.contains(.notifiesProgress)
      if options.contains(.ignoresPuts) { $0.filters.append(.noput) }
      if options.contains(.ignoresDeletions) { $0.filters.append(.nodelete) }
    }
    return WatchEvents(batches: WatchBatches(client: self, request: request))
  }
}

/// The options of a watch.
public struct WatchOptions: OptionSet, Sendable {
  public let rawValue: Int

  public init(rawValue: Int) { self.rawValue = rawValue }

  /// Each event has the key as it was before.
  public static let returnsPrevious = WatchOptions(rawValue: 1)
  /// No events of keys that are written.
  public static let ignoresPuts = WatchOptions(rawValue: 2)
  /// No events of keys that are deleted.
  public static let ignoresDeletions = WatchOptions(rawValue: 4)
  /// ``WatchEvents/batches`` without events report the progress of a quiet watch from time to time (every ten minutes
  /// by etcd's default).
  public static let notifiesProgress = WatchOptions(rawValue: 8)
}

/// A change of a key.
public struct WatchEvent: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    case put, delete
  }

  public let kind: Kind
  /// The key as it is now; of a deletion only the key and its ``KeyValue/modRevision``.
  public let keyValue: KeyValue
  /// The key as it was before, if that was requested and is known.
  public let previous: KeyValue?

  public var key: Bytes { keyValue.key }
  public var value: Bytes { keyValue.value }
  /// The revision of the change.
  public var revision: Int64 { keyValue.modRevision }
  /// Whether a put has made the key.
  public var isCreation: Bool { kind == .put && keyValue.createRevision == keyValue.modRevision }
}

/// The events of a watch, one by one.
public struct WatchEvents: AsyncSequence, Sendable {
  /// The same watch, as etcd sends it: the events of whole revisions together.
  public let batches: WatchBatches

  public func makeAsyncIterator() -> Iterator { Iterator(batches: batches.makeAsyncIterator()) }

  /// Reads a watch; ends it when it is released.
  public struct Iterator: AsyncIteratorProtocol {
    fileprivate var batches: WatchBatches.Iterator
    private var events: ArraySlice<WatchEvent> = []

    fileprivate init(batches: WatchBatches.Iterator) { self.batches = batches }

    /// The next event.
    ///
    /// - Throws: ``EtcdError``, or `CancellationError`.
    public mutating func next() async throws -> WatchEvent? {
      while events.isEmpty {
        guard let batch = try await batches.next() else { return nil }
        events = batch.events[...]
      }
      return events.removeFirst()
    }
  }
}

/// The events of a watch by revisions, with its creation and its progress.
public struct WatchBatches: AsyncSequence, Sendable {
  fileprivate let client: EtcdClient
  fileprivate let request: Etcdserverpb_WatchCreateRequest

  public func makeAsyncIterator() -> Iterator {
    let request = request
    return Iterator(
      reader: StreamReader(client, .keep(bytes: client.configuration.streamBacklog)) {
        core, cancellationToken, buffer in
        WatchReader(request, core: core, cancellationToken: cancellationToken, buffer: buffer)
      })
  }

  /// Reads a watch; ends it when it is released.
  public struct Iterator: AsyncIteratorProtocol {
    fileprivate let reader: StreamReader<WatchBatch>

    /// The next batch, the first of which has no events: from then on etcd watches.
    ///
    /// - Throws: ``EtcdError``, or `CancellationError`.
    public func next() async throws -> WatchBatch? { try await reader.next() }
  }
}

/// One message of a watch.
public struct WatchBatch: Sendable, Hashable {
  /// With the store's revision; without events, all changes up to it were delivered, except in the
  /// first batch of a watch from an earlier revision.
  public let header: ResponseHeader
  /// Whether this is the first one: etcd has created the watch.
  public let isCreation: Bool
  /// The changes, in their order; of each revision all or none. None in the first batch, and in reports of progress.
  public let events: [WatchEvent]

  init(_ response: Etcdserverpb_WatchResponse) {
    header = ResponseHeader(response.header)
    isCreation = response.created
    events = response.events.map { event in
      WatchEvent(
        kind: event.type == .delete ? .delete : .put, keyValue: KeyValue(event.kv),
        previous: event.hasPrevKv ? KeyValue(event.prevKv) : nil)
    }
  }
}
