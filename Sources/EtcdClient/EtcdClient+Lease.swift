internal import EtcdSchema
public import GrpcBridge

/// Leases, whose keys are deleted when they end (etcd documentation, "etcd API", "Lease API").
extension EtcdClient {
  /// Grants a lease.
  ///
  /// - Parameters:
  ///   - ttl: how long it lives without renewal, in whole seconds; at least 1 s, and etcd may make it longer.
  ///   - id: its ID; if nil, etcd chooses one.
  ///   - timeout: the time limit; nil for the usual one.
  public func grantLease(ttl: Duration, id: LeaseID? = nil, timeout: Duration? = nil) async throws -> LeaseGrant {
    let request = Etcdserverpb_LeaseGrantRequest.with {
      $0.ttl = ttl.wholeSeconds
      $0.id = id?.rawValue ?? 0
    }
    return LeaseGrant(try await call(EtcdRPC.leaseGrant, request, .usual(timeout)))
  }

  /// Revokes a lease, and deletes its keys.
  @discardableResult
  public func revokeLease(_ id: LeaseID, timeout: Duration? = nil) async throws -> ResponseHeader {
    let request = Etcdserverpb_LeaseRevokeRequest.with { $0.id = id.rawValue }
    return ResponseHeader(try await call(EtcdRPC.leaseRevoke, request, .usual(timeout)).header)
  }

  /// The remaining time of a lease.
  ///
  /// - Parameters:
  ///   - id: the lease.
  ///   - keys: whether to return its keys.
  ///   - timeout: the time limit; nil for the usual one.
  /// - Throws: ``EtcdError`` with ``EtcdError/Code/leaseNotFound`` if there is no such lease.
  public func timeToLive(
    of id: LeaseID, keys: Bool = false, timeout: Duration? = nil
  ) async throws -> LeaseTimeToLive {
    let request = Etcdserverpb_LeaseTimeToLiveRequest.with {
      $0.id = id.rawValue
      $0.keys = keys
    }
    let response = try await call(EtcdRPC.leaseTimeToLive, request, .usual(timeout))
    guard response.ttl >= 0 else { throw EtcdError.leaseNotFound }
    return LeaseTimeToLive(response)
  }

  /// All leases.
  public func leases(timeout: Duration? = nil) async throws -> [LeaseID] {
    try await call(EtcdRPC.leaseLeases, .init(), .usual(timeout)).leases.map { LeaseID($0.id) }
  }

  /// Keeps a lease alive as long as the sequence is iterated over, whether or not its elements are read in time: only
  /// the newest one waits.
  ///
  /// The sequence ends when the lease has ended. It throws ``EtcdError`` if etcd could not be reached for the lease's
  /// whole time to live, and `CancellationError` if the task is cancelled; the lease then lives on for its remaining
  /// time.
  public func keepAlive(_ id: LeaseID) -> LeaseKeepAlives { LeaseKeepAlives(client: self, lease: id) }

  /// Renews a lease once.
  ///
  /// - Throws: ``EtcdError`` with ``EtcdError/Code/leaseNotFound`` if there is no such lease.
  @discardableResult
  public func keepAliveOnce(_ id: LeaseID, timeout: Duration? = nil) async throws -> LeaseKeepAlive {
    let patience = try self.timeout(.usual(timeout))?.milliseconds ?? .max
    let reader = LeaseKeepAlives.reader(self, id, patience: patience, isOnce: true)
    guard let answer = try await reader.next() else { throw EtcdError.leaseNotFound }
    return answer
  }
}

/// A new lease.
public struct LeaseGrant: Sendable, Hashable {
  public let header: ResponseHeader
  public let id: LeaseID
  /// How long it lives without renewal.
  public let ttl: Duration
}

/// How long a lease still lives.
public struct LeaseTimeToLive: Sendable, Hashable {
  public let header: ResponseHeader
  public let id: LeaseID
  /// How long it still lives.
  public let ttl: Duration
  /// How long it lives when it is renewed.
  public let grantedTTL: Duration
  /// Its keys, if these were requested.
  public let keys: [Bytes]
}

/// The renewal of a lease.
public struct LeaseKeepAlive: Sendable, Hashable {
  public let header: ResponseHeader
  public let id: LeaseID
  /// How long it lives from now on.
  public let ttl: Duration
}

/// The renewals of a lease.
public struct LeaseKeepAlives: AsyncSequence, Sendable {
  fileprivate let client: EtcdClient
  fileprivate let lease: LeaseID

  public func makeAsyncIterator() -> Iterator {
    let patience = client.configuration.requestTimeout?.milliseconds ?? .max
    return Iterator(reader: Self.reader(client, lease, patience: patience, isOnce: false))
  }

  fileprivate static func reader(
    _ client: EtcdClient, _ lease: LeaseID, patience: UInt64, isOnce: Bool
  ) -> StreamReader<LeaseKeepAlive> {
    StreamReader(client, .newest) { core, cancellationToken, buffer in
      LeaseRenewal(
        lease, patience: patience, isOnce: isOnce, core: core, cancellationToken: cancellationToken, buffer: buffer)
    }
  }

  /// Keeps a lease alive until this iterator is released.
  public struct Iterator: AsyncIteratorProtocol {
    fileprivate let reader: StreamReader<LeaseKeepAlive>

    /// The next renewal; nil when the lease has ended.
    ///
    /// - Throws: ``EtcdError``, or `CancellationError`.
    public func next() async throws -> LeaseKeepAlive? { try await reader.next() }
  }
}

// MARK: - To and from messages

extension EtcdError {
  /// etcd's error for an unknown lease in other calls.
  fileprivate static var leaseNotFound: EtcdError {
    EtcdError(GRPCStatus(.notFound, EtcdMessage.leaseNotFound, origin: .server))
  }
}

extension Duration {
  /// Rounded up.
  var wholeSeconds: Int64 {
    let (seconds, attoseconds) = components
    return attoseconds > 0 ? seconds + 1 : seconds
  }
}

extension LeaseGrant {
  init(_ response: Etcdserverpb_LeaseGrantResponse) {
    header = ResponseHeader(response.header)
    id = LeaseID(response.id)
    ttl = .seconds(response.ttl)
  }
}

extension LeaseTimeToLive {
  init(_ response: Etcdserverpb_LeaseTimeToLiveResponse) {
    header = ResponseHeader(response.header)
    id = LeaseID(response.id)
    ttl = .seconds(response.ttl)
    grantedTTL = .seconds(response.grantedTtl)
    keys = response.keys.map { Bytes($0) }
  }
}

extension LeaseKeepAlive {
  init(_ response: Etcdserverpb_LeaseKeepAliveResponse) {
    header = ResponseHeader(response.header)
    id = LeaseID(response.id)
    ttl = .seconds(response.ttl)
  }
}
