internal import EtcdSchema
public import GrpcBridge
internal import SwiftProtobuf

/// Locks and elections, which etcd stores as keys with a lease (etcd documentation, "etcd concurrency API").
///
/// The caller owns the lease: a client that holds a lock or leads must keep it alive (``keepAlive(_:)``), and loses the
/// lock or the leadership when the lease ends.
///
/// If a task that waits for a lock or in an election is cancelled, or its time has passed, it leaves the queue. With
/// authentication on, etcd (3.4, 3.5) does not do that; this client does, if it reaches etcd within 5 seconds.
extension EtcdClient {
  /// Waits until the caller holds the lock.
  ///
  /// - Parameters:
  ///   - name: the name of the lock.
  ///   - lease: the lease of the lock: another lease is another holder.
  ///   - timeout: how long to wait; nil for no limit.
  /// - Returns: the key of the lock, which exists as long as the lock is held: compare it in a ``Txn``,
  ///   and pass it to ``unlock(_:timeout:)``.
  public func lock(_ name: Bytes, lease: LeaseID, timeout: Duration? = nil) async throws -> LockResponse {
    let request = V3lockpb_LockRequest.with {
      $0.name = .init(name)
      $0.lease = lease.rawValue
    }
    return LockResponse(try await call(EtcdRPC.lock, request, .waits(timeout)))
  }

  /// Releases a lock.
  ///
  /// - Parameters:
  ///   - key: the key that ``lock(_:lease:timeout:)`` has returned.
  ///   - timeout: the time limit; nil for the usual one.
  @discardableResult
  public func unlock(_ key: Bytes, timeout: Duration? = nil) async throws -> ResponseHeader {
    let request = V3lockpb_UnlockRequest.with { $0.key = .init(key) }
    return ResponseHeader(try await call(EtcdRPC.unlock, request, .usual(timeout)).header)
  }

  /// Waits until the caller leads.
  ///
  /// - Parameters:
  ///   - name: the name of the election.
  ///   - lease: the lease of the candidate: another lease is another candidate.
  ///   - value: the value that the leader proclaims.
  ///   - timeout: how long to wait; nil for no limit.
  public func campaign(
    _ name: Bytes, lease: LeaseID, value: Bytes, timeout: Duration? = nil
  ) async throws -> Leadership {
    let request = V3electionpb_CampaignRequest.with {
      $0.name = .init(name)
      $0.lease = lease.rawValue
      $0.value = .init(value)
    }
    return Leadership(try await call(EtcdRPC.campaign, request, .waits(timeout)).leader)
  }

  /// Proclaims another value as the leader. Fails if the caller no longer leads.
  @discardableResult
  public func proclaim(
    _ value: Bytes, as leadership: Leadership, timeout: Duration? = nil
  ) async throws -> ResponseHeader {
    let request = V3electionpb_ProclaimRequest.with {
      $0.leader = leadership.message
      $0.value = .init(value)
    }
    return ResponseHeader(try await call(EtcdRPC.proclaim, request, .usual(timeout)).header)
  }

  /// The leader's key with its value. Fails if there is no leader.
  public func leader(of name: Bytes, timeout: Duration? = nil) async throws -> KeyValue {
    let request = V3electionpb_LeaderRequest.with { $0.name = .init(name) }
    return KeyValue(try await call(EtcdRPC.leader, request, .usual(timeout)).kv)
  }

  /// Resigns as the leader.
  @discardableResult
  public func resign(_ leadership: Leadership, timeout: Duration? = nil) async throws -> ResponseHeader {
    let request = V3electionpb_ResignRequest.with { $0.leader = leadership.message }
    return ResponseHeader(try await call(EtcdRPC.resign, request, .usual(timeout)).header)
  }

  /// The present leader and later ones: their keys with their values, in the order of the changes, of which some
  /// may be left out. Continues at another member if its own fails.
  ///
  /// - Returns: a sequence that throws ``EtcdError`` if it cannot continue, and `CancellationError` if the task is
  ///   cancelled.
  public func observe(_ name: Bytes) -> Leaders { Leaders(client: self, name: name) }
}

/// A lock that is held.
public struct LockResponse: Sendable, Hashable {
  public let header: ResponseHeader
  /// The key of the lock.
  public let key: Bytes

  init(_ response: V3lockpb_LockResponse) {
    header = ResponseHeader(response.header)
    key = Bytes(response.key)
  }
}

/// The result of a campaign.
public struct Leadership: Sendable, Hashable {
  /// The name of the election.
  public let name: Bytes
  /// The key of the leadership, which exists as long as the leadership.
  public let key: Bytes
  /// The revision of the key's creation.
  public let revision: Int64
  public let lease: LeaseID

  init(_ leader: V3electionpb_LeaderKey) {
    name = Bytes(leader.name)
    key = Bytes(leader.key)
    revision = leader.rev
    lease = LeaseID(leader.lease)
  }

  fileprivate var message: V3electionpb_LeaderKey {
    .with {
      $0.name = .init(name)
      $0.key = .init(key)
      $0.rev = revision
      $0.lease = lease.rawValue
    }
  }
}

/// The leaders of an election.
public struct Leaders: AsyncSequence, Sendable {
  fileprivate let client: EtcdClient
  fileprivate let name: Bytes

  public func makeAsyncIterator() -> Iterator {
    let request = V3electionpb_LeaderRequest.with { $0.name = .init(name) }
    return Iterator(
      reader: StreamReader(client, .keep(bytes: client.configuration.streamBacklog)) {
        core, cancellationToken, buffer in
        var last: KeyValue?
        return try ServerStream(
          EtcdRPC.observe.clientMethod, encode(request), resumes: true, core: core, cancellationToken: cancellationToken
        ) { message in
          let response: V3electionpb_LeaderResponse = try decode(message)
          let leader = KeyValue(response.kv)
          // A stream that replaces another one begins with a leader that is known already.
          guard leader != last else { return true }
          last = leader
          return buffer.add(leader, size: message.count)
        } onEnd: { error in
          buffer.finish(error)
        }
      })
  }

  /// Observes an election as long as this iterator lives.
  public struct Iterator: AsyncIteratorProtocol {
    fileprivate let reader: StreamReader<KeyValue>

    /// The next leader.
    ///
    /// - Throws: ``EtcdError``, or `CancellationError`.
    public func next() async throws -> KeyValue? { try await reader.next() }
  }
}
