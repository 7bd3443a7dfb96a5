internal import EtcdSchema
public import GrpcBridge
internal import SwiftProtobuf

/// Locks and elections, which etcd keeps by keys that go with a lease (etcd documentation, "etcd concurrency API").
///
/// The lease is the caller's: whoever holds a lock or leads keeps it alive (``keepAlive(_:)``), and has lost them when
/// it is gone.
///
/// Where a task is cancelled that waits for a lock or in an election, or its time is up, it leaves the queue. With
/// authentication on etcd (3.4, 3.5) fails to see to that, and this client does, if it reaches etcd within 5 seconds.
extension EtcdClient {
  /// Waits until the lock is the caller's.
  ///
  /// - Parameters:
  ///   - name: the name of the lock.
  ///   - lease: what the lock is held by: with another lease it is another holder.
  ///   - timeout: how long to wait; nil for as long as it takes.
  /// - Returns: the key that stands for the lock, which exists for as long as it is held: to be compared in a ``Txn``,
  ///   and to be given to ``unlock(_:timeout:)``.
  public func lock(_ name: Bytes, lease: LeaseID, timeout: Duration? = nil) async throws -> LockResponse {
    let request = V3lockpb_LockRequest.with {
      $0.name = .init(name)
      $0.lease = lease.rawValue
    }
    return LockResponse(try await call(EtcdRPC.lock, request, .waits(timeout)))
  }

  /// Gives a lock back.
  ///
  /// - Parameters:
  ///   - key: what ``lock(_:lease:timeout:)`` has returned.
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
  ///   - lease: what leads: with another lease it is another candidate.
  ///   - value: what the leader tells.
  ///   - timeout: how long to wait; nil for as long as it takes.
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

  /// Has the leader tell something else. Fails where the caller leads no more.
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

  /// Who leads: the leader's key, with what it tells. Fails where nobody does.
  public func leader(of name: Bytes, timeout: Duration? = nil) async throws -> KeyValue {
    let request = V3electionpb_LeaderRequest.with { $0.name = .init(name) }
    return KeyValue(try await call(EtcdRPC.leader, request, .usual(timeout)).kv)
  }

  /// Leads no more.
  @discardableResult
  public func resign(_ leadership: Leadership, timeout: Duration? = nil) async throws -> ResponseHeader {
    let request = V3electionpb_ResignRequest.with { $0.leader = leadership.message }
    return ResponseHeader(try await call(EtcdRPC.resign, request, .usual(timeout)).header)
  }

  /// Who leads, now and from then on: the leaders' keys with what they tell, in the order of the changes, of which some
  /// may be left out. Goes on at another member when its own breaks.
  ///
  /// - Returns: throws ``EtcdError`` where it cannot go on, and `CancellationError` where the task is cancelled.
  public func observe(_ name: Bytes) -> Leaders { Leaders(client: self, name: name) }
}

/// A lock that is held.
public struct LockResponse: Sendable, Hashable {
  public let header: ResponseHeader
  /// The key that stands for it.
  public let key: Bytes

  init(_ response: V3lockpb_LockResponse) {
    header = ResponseHeader(response.header)
    key = Bytes(response.key)
  }
}

/// The leadership that a campaign has brought.
public struct Leadership: Sendable, Hashable {
  /// The name of the election.
  public let name: Bytes
  /// The key that stands for the leadership, which exists for as long as that lasts.
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
          // A stream that takes another one's place begins with what is known.
          guard leader != last else { return true }
          last = leader
          return buffer.add(leader, size: message.count)
        } onEnd: { error in
          buffer.finish(error)
        }
      })
  }

  /// Observes an election for as long as it is there.
  public struct Iterator: AsyncIteratorProtocol {
    fileprivate let reader: StreamReader<KeyValue>

    /// The next leader.
    ///
    /// - Throws: ``EtcdError``, or `CancellationError`.
    public func next() async throws -> KeyValue? { try await reader.next() }
  }
}
