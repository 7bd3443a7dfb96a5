internal import EtcdSchema
public import GrpcBridge

/// Reading and writing keys (etcd documentation, "etcd API", "Key-Value API").
///
/// All of these throw ``EtcdError``, or `CancellationError` if the task is cancelled. A `timeout` of nil is the
/// configuration's ``Configuration/requestTimeout``.
extension EtcdClient {
  /// Reads a key.
  public func get(
    _ key: Bytes, _ options: GetOptions = GetOptions(), timeout: Duration? = nil
  ) async throws -> GetResponse {
    try await get(range: .key(key), options, timeout: timeout)
  }

  /// Reads the keys that begin with `prefix`; all if it is empty.
  public func get(
    prefix: Bytes, _ options: GetOptions = GetOptions(), timeout: Duration? = nil
  ) async throws -> GetResponse {
    try await get(range: .prefix(prefix), options, timeout: timeout)
  }

  /// Reads a range of keys. May be sent to several members until one answers.
  public func get(
    range: KeyRange, _ options: GetOptions = GetOptions(), timeout: Duration? = nil
  ) async throws -> GetResponse {
    GetResponse(try await call(EtcdRPC.range, .init(range, options), .usual(timeout)))
  }

  /// Writes a key. The call is never sent a second time if etcd may have executed it.
  ///
  /// - Parameters:
  ///   - key: the key; not empty.
  ///   - value: its value.
  ///   - lease: the lease that the key goes with; nil for none.
  ///   - options: whether to keep the value or the lease, and whether to return the previous key.
  ///   - timeout: the time limit; nil for the usual one.
  @discardableResult
  public func put(
    _ key: Bytes, _ value: Bytes, lease: LeaseID? = nil, _ options: PutOptions = [], timeout: Duration? = nil
  ) async throws -> PutResponse {
    PutResponse(try await call(EtcdRPC.put, .init(key, value, lease, options), .usual(timeout)))
  }

  /// Deletes a key.
  ///
  /// - Parameters:
  ///   - key: the key; not empty.
  ///   - returnsPrevious: whether the answer has the deleted key and value.
  ///   - timeout: the time limit; nil for the usual one.
  @discardableResult
  public func delete(
    _ key: Bytes, returnsPrevious: Bool = false, timeout: Duration? = nil
  ) async throws -> DeleteResponse {
    try await delete(range: .key(key), returnsPrevious: returnsPrevious, timeout: timeout)
  }

  /// Deletes the keys that begin with `prefix`; all if it is empty.
  @discardableResult
  public func delete(
    prefix: Bytes, returnsPrevious: Bool = false, timeout: Duration? = nil
  ) async throws -> DeleteResponse {
    try await delete(range: .prefix(prefix), returnsPrevious: returnsPrevious, timeout: timeout)
  }

  /// Deletes a range of keys.
  @discardableResult
  public func delete(
    range: KeyRange, returnsPrevious: Bool = false, timeout: Duration? = nil
  ) async throws -> DeleteResponse {
    DeleteResponse(try await call(EtcdRPC.deleteRange, .init(range, returnsPrevious), .usual(timeout)))
  }

  /// Executes a transaction: everything it does happens at one revision, or nothing.
  ///
  /// ```swift
  /// try await client.txn(.if(.version(of: "k", .equal, 0)).then(.put("k", "v")).else(.get("k")))
  /// ```
  @discardableResult
  public func txn(_ txn: Txn, timeout: Duration? = nil) async throws -> TxnResponse {
    TxnResponse(try await call(EtcdRPC.txn, txn.request, .usual(timeout)))
  }

  /// Removes the history before `revision`: reads of and watches from revisions before it fail with
  /// ``EtcdError/Code/compacted``.
  ///
  /// - Parameters:
  ///   - revision: the first revision that is still known then.
  ///   - physical: whether to wait until the entries are gone from the member's database.
  ///   - timeout: the time limit; nil for the usual one.
  @discardableResult
  public func compact(_ revision: Int64, physical: Bool = false, timeout: Duration? = nil) async throws
    -> ResponseHeader
  {
    let request = Etcdserverpb_CompactionRequest.with {
      $0.revision = revision
      $0.physical = physical
    }
    return ResponseHeader(try await call(EtcdRPC.compact, request, .usual(timeout)).header)
  }
}

/// How keys are read.
public struct GetOptions: Sendable, Hashable {
  /// The order of keys in the answer.
  public struct Sort: Sendable, Hashable {
    /// What keys are sorted by.
    public enum Target: Sendable, Hashable {
      case key, version, createRevision, modRevision, value
    }

    public var target: Target
    public var isDescending: Bool

    public static func ascending(_ target: Target) -> Sort { Sort(target: target, isDescending: false) }
    public static func descending(_ target: Target) -> Sort { Sort(target: target, isDescending: true) }
  }

  /// The revision to read at; 0 for the current one.
  public var revision: Int64
  /// The most keys to read; 0 for all.
  public var limit: Int64
  /// The order; by key if nil.
  public var sort: Sort?
  /// Whether any member may answer from its own data, which may be old.
  public var serializable: Bool
  /// Whether to leave values out.
  public var keysOnly: Bool
  /// Whether to count the keys only.
  public var countOnly: Bool
  /// Only keys last changed within these revisions; nil for all.
  public var modRevisions: ClosedRange<Int64>?
  /// Only keys created within these revisions; nil for all.
  public var createRevisions: ClosedRange<Int64>?

  public init(
    revision: Int64 = 0, limit: Int64 = 0, sort: Sort? = nil, serializable: Bool = false, keysOnly: Bool = false,
    countOnly: Bool = false, modRevisions: ClosedRange<Int64>? = nil, createRevisions: ClosedRange<Int64>? = nil
  ) {
    self.revision = revision
    self.limit = limit
    self.sort = sort
    self.serializable = serializable
    self.keysOnly = keysOnly
    self.countOnly = countOnly
    self.modRevisions = modRevisions
    self.createRevisions = createRevisions
  }
}

/// How a key is written.
public struct PutOptions: OptionSet, Sendable {
  public let rawValue: Int

  public init(rawValue: Int) { self.rawValue = rawValue }

  /// The answer has the key as it was before.
  public static let returnsPrevious = PutOptions(rawValue: 1)
  /// The value stays as it is, and is not to be given.
  public static let ignoresValue = PutOptions(rawValue: 2)
  /// The lease stays as it is, and is not to be given.
  public static let ignoresLease = PutOptions(rawValue: 4)
}

/// The keys that were read.
public struct GetResponse: Sendable, Hashable {
  public let header: ResponseHeader
  public let keyValues: [KeyValue]
  /// Whether the limit has cut off more of them.
  public let more: Bool
  /// How many keys the range has, whatever the limit.
  public let count: Int64

  /// The first one, or only one.
  public var first: KeyValue? { keyValues.first }
}

/// The result of writing a key.
public struct PutResponse: Sendable, Hashable {
  public let header: ResponseHeader
  /// The key as it was before, if that was requested and there was one.
  public let previous: KeyValue?
}

/// The result of deleting keys.
public struct DeleteResponse: Sendable, Hashable {
  public let header: ResponseHeader
  /// How many keys were deleted.
  public let deleted: Int64
  /// The keys as they were before, if that was requested.
  public let previous: [KeyValue]
}

// MARK: - To and from messages

extension Etcdserverpb_RangeRequest {
  init(_ range: KeyRange, _ options: GetOptions) {
    self.init()
    key = .init(range.start)
    rangeEnd = .init(range.end)
    limit = options.limit
    revision = options.revision
    if let sort = options.sort {
      sortOrder = sort.isDescending ? .descend : .ascend
      sortTarget =
        switch sort.target {
        case .key: .key
        case .version: .version
        case .createRevision: .create
        case .modRevision: .mod
        case .value: .value
        }
    }
    serializable = options.serializable
    keysOnly = options.keysOnly
    countOnly = options.countOnly
    if let revisions = options.modRevisions {
      minModRevision = revisions.lowerBound
      maxModRevision = revisions.upperBound
    }
    if let revisions = options.createRevisions {
      minCreateRevision = revisions.lowerBound
      maxCreateRevision = revisions.upperBound
    }
  }
}

extension Etcdserverpb_PutRequest {
  init(_ key: Bytes, _ value: Bytes, _ lease: LeaseID?, _ options: PutOptions) {
    self.init()
    self.key = .init(key)
    self.value = .init(value)
    self.lease = lease?.rawValue ?? 0
    prevKv = options.contains(.returnsPrevious)
    ignoreValue = options.contains(.ignoresValue)
    ignoreLease = options.contains(.ignoresLease)
  }
}

extension Etcdserverpb_DeleteRangeRequest {
  init(_ range: KeyRange, _ returnsPrevious: Bool) {
    self.init()
    key = .init(range.start)
    rangeEnd = .init(range.end)
    prevKv = returnsPrevious
  }
}

extension GetResponse {
  init(_ response: Etcdserverpb_RangeResponse) {
    header = ResponseHeader(response.header)
    keyValues = response.kvs.map { KeyValue($0) }
    more = response.more
    count = response.count
  }
}

extension PutResponse {
  init(_ response: Etcdserverpb_PutResponse) {
    header = ResponseHeader(response.header)
    previous = response.hasPrevKv ? KeyValue(response.prevKv) : nil
  }
}

extension DeleteResponse {
  init(_ response: Etcdserverpb_DeleteRangeResponse) {
    header = ResponseHeader(response.header)
    deleted = response.deleted
    previous = response.prevKvs.map { KeyValue($0) }
  }
}
