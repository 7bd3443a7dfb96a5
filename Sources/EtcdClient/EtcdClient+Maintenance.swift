internal import EtcdSchema
internal import GrpcBridge

/// Maintenance of members (etcd documentation, "Maintenance").
///
/// If a call is about one member, `endpoint` is its address, in the form of ``Endpoint``, such as one of
/// ``ClusterMember/clientURLs``; it need not be one of the client's. The call goes there over a separate connection.
/// If it is nil, any of the client's endpoints answers for itself.
extension EtcdClient {
  /// The status of a member.
  public func status(endpoint: String? = nil, timeout: Duration? = nil) async throws -> MemberStatus {
    MemberStatus(try await call(EtcdRPC.status, .init(), .usual(timeout), endpoint: endpoint))
  }

  /// The alarms of all members.
  public func alarms(timeout: Duration? = nil) async throws -> [Alarm] {
    let request = Etcdserverpb_AlarmRequest.with { $0.action = .get }
    return try await call(EtcdRPC.alarm, request, .usual(timeout)).alarms.map { Alarm($0) }
  }

  /// Clears alarms; returns those that were cleared.
  ///
  /// - Parameters:
  ///   - alarm: the alarm; nil for all.
  ///   - timeout: the time limit; nil for the usual one.
  @discardableResult
  public func disarm(_ alarm: Alarm? = nil, timeout: Duration? = nil) async throws -> [Alarm] {
    var disarmed: [Alarm] = []
    let all = if let alarm { [alarm] } else { try await alarms(timeout: timeout) }
    for alarm in all {
      let request = Etcdserverpb_AlarmRequest.with {
        $0.action = .deactivate
        $0.memberID = alarm.member.rawValue
        $0.alarm = alarm.kind.message
      }
      disarmed += try await call(EtcdRPC.alarm, request, .usual(timeout)).alarms.map { Alarm($0) }
    }
    return disarmed
  }

  /// Returns the space of deleted and compacted data to the file system. The member serves no client meanwhile,
  /// which may take longer than the default time limit.
  @discardableResult
  public func defragment(endpoint: String? = nil, timeout: Duration? = nil) async throws -> ResponseHeader {
    ResponseHeader(try await call(EtcdRPC.defragment, .init(), .usual(timeout), endpoint: endpoint).header)
  }

  /// The hash of a member's whole database, for tests of etcd.
  public func hash(endpoint: String? = nil, timeout: Duration? = nil) async throws -> UInt32 {
    try await call(EtcdRPC.hash, .init(), .usual(timeout), endpoint: endpoint).hash
  }

  /// The hash of a member's keys up to a revision: equal for all members.
  ///
  /// - Parameters:
  ///   - endpoint: the member; any if nil.
  ///   - revision: 0 for the current one.
  ///   - timeout: the time limit; nil for the usual one.
  public func hashKV(
    endpoint: String? = nil, revision: Int64 = 0, timeout: Duration? = nil
  ) async throws -> KeyValueHash {
    let request = Etcdserverpb_HashKVRequest.with { $0.revision = revision }
    return KeyValueHash(try await call(EtcdRPC.hashKV, request, .usual(timeout), endpoint: endpoint))
  }

  /// A member's database as it is, in pieces: a file that `etcdctl snapshot restore` takes.
  ///
  /// The file ends with the SHA-256 of the preceding bytes, which is verified: the last piece comes only if it
  /// is right, otherwise ``EtcdError/Code/dataLoss`` is thrown.
  ///
  /// - Parameters:
  ///   - endpoint: the member; any if nil.
  ///   - timeout: for all of it; nil for none.
  public func snapshot(endpoint: String? = nil, timeout: Duration? = nil) -> SnapshotChunks {
    SnapshotChunks(client: self, endpoint: endpoint, timeout: timeout)
  }

  /// Makes another member the leader.
  ///
  /// - Parameters:
  ///   - id: the new leader.
  ///   - endpoint: the present leader's address: other members refuse with ``EtcdError/Code/notLeader``.
  ///   - timeout: the time limit; nil for the usual one.
  @discardableResult
  public func moveLeader(
    to id: MemberID, endpoint: String? = nil, timeout: Duration? = nil
  ) async throws -> ResponseHeader {
    let request = Etcdserverpb_MoveLeaderRequest.with { $0.targetID = id.rawValue }
    return ResponseHeader(try await call(EtcdRPC.moveLeader, request, .usual(timeout), endpoint: endpoint).header)
  }

  /// Checks whether the cluster can be downgraded to an earlier release, starts the downgrade, or cancels it. etcd 3.5
  /// and later.
  ///
  /// - Parameters:
  ///   - action: which of these.
  ///   - version: such as `3.4.0`; ignored if a downgrade is cancelled.
  ///   - timeout: the time limit; nil for the usual one.
  /// - Returns: the version that the cluster has.
  public func downgrade(
    _ action: DowngradeAction, to version: String = "", timeout: Duration? = nil
  ) async throws -> String {
    let request = Etcdserverpb_DowngradeRequest.with {
      $0.action =
        switch action {
        case .validate: .validate
        case .enable: .enable
        case .cancel: .cancel
        }
      $0.version = version
    }
    return try await call(EtcdRPC.downgrade, request, .usual(timeout)).version
  }
}

/// The status of a member.
public struct MemberStatus: Sendable, Hashable {
  public let header: ResponseHeader
  /// The release, such as `3.5.1`.
  public let version: String
  /// The size of the database file, and how much of that is in use, in bytes.
  public let databaseSize: Int64
  public let databaseSizeInUse: Int64
  /// The size of the file from which on etcd refuses writes, in bytes; nil before etcd 3.6.
  public let databaseQuota: Int64?
  /// The leader, as the member knows it; nil for none.
  public let leader: MemberID?
  public let raftIndex: UInt64
  public let raftTerm: UInt64
  public let raftAppliedIndex: UInt64
  /// The member's errors, including alarms.
  public let errors: [String]
  public let isLearner: Bool
  /// The version of the database's form; nil before etcd 3.6.
  public let storageVersion: String?

  /// Whether the member leads.
  public var isLeader: Bool { leader == header.memberID }

  init(_ response: Etcdserverpb_StatusResponse) {
    header = ResponseHeader(response.header)
    version = response.version
    databaseSize = response.dbSize
    databaseSizeInUse = response.dbSizeInUse
    databaseQuota = response.dbSizeQuota == 0 ? nil : response.dbSizeQuota
    leader = response.leader == 0 ? nil : MemberID(response.leader)
    raftIndex = response.raftIndex
    raftTerm = response.raftTerm
    raftAppliedIndex = response.raftAppliedIndex
    errors = response.errors
    isLearner = response.isLearner
    storageVersion = response.storageVersion.isEmpty ? nil : response.storageVersion
  }
}

/// An alarm of a member.
public struct Alarm: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    /// The database has reached its quota: writes are refused with ``EtcdError/Code/noSpace``.
    case noSpace
    /// The database differs from those of others.
    case corrupt
    /// An alarm that this client does not know.
    case other(Int)

    fileprivate init(_ message: Etcdserverpb_AlarmType) {
      self =
        switch message {
        case .nospace: .noSpace
        case .corrupt: .corrupt
        default: .other(message.rawValue)
        }
    }

    fileprivate var message: Etcdserverpb_AlarmType {
      switch self {
      case .noSpace: .nospace
      case .corrupt: .corrupt
      case .other(let number): Etcdserverpb_AlarmType(rawValue: number) ?? .none
      }
    }
  }

  public let member: MemberID
  public let kind: Kind

  public init(_ kind: Kind, of member: MemberID) {
    self.kind = kind
    self.member = member
  }

  init(_ message: Etcdserverpb_AlarmMember) { self.init(Kind(message.alarm), of: MemberID(message.memberID)) }
}

/// The hash of keys.
public struct KeyValueHash: Sendable, Hashable {
  public let header: ResponseHeader
  public let hash: UInt32
  /// The revision that was compacted last.
  public let compactRevision: Int64

  init(_ response: Etcdserverpb_HashKVResponse) {
    header = ResponseHeader(response.header)
    hash = response.hash
    compactRevision = response.compactRevision
  }
}

/// The action of ``EtcdClient/downgrade(_:to:timeout:)``.
public enum DowngradeAction: Sendable, Hashable {
  case validate, enable, cancel
}

/// A member's database, in pieces.
public struct SnapshotChunks: AsyncSequence, Sendable {
  fileprivate let client: EtcdClient
  fileprivate let endpoint: String?
  fileprivate let timeout: Duration?

  public func makeAsyncIterator() -> Iterator {
    do {
      let target = try endpoint.map { try Endpoint(forClient: $0) }
      let limit = try client.timeout(.waits(timeout))
      let policy = StreamBuffer<[UInt8]>.Policy.keep(bytes: client.configuration.streamBacklog)
      let reader = StreamReader(client, policy) { core, cancellationToken, buffer in
        var snapshot = SnapshotVerifier()
        return ServerStream(
          EtcdRPC.snapshot.clientMethod, [], timeout: limit, target: target, core: core,
          cancellationToken: cancellationToken
        ) { message in
          let part: Etcdserverpb_SnapshotResponse = try decode(message)
          var piece: [UInt8] = []
          try part.blob.withUnsafeBytes { try snapshot.take($0, announcing: part.remainingBytes) { piece += $0 } }
          return piece.isEmpty || buffer.add(piece, size: piece.count)
        } onEnd: { error in
          guard error == nil else { return buffer.finish(error) }
          do throws(GRPCStatus) {
            _ = buffer.add(try snapshot.finish())
            buffer.finish(nil)
          } catch {
            buffer.finish(EtcdError(error))
          }
        }
      }
      return Iterator(start: .success(reader))
    } catch {
      return Iterator(start: .failure(error))
    }
  }

  /// Reads a snapshot; ends it when it is released.
  public struct Iterator: AsyncIteratorProtocol {
    fileprivate let start: Result<StreamReader<[UInt8]>, any Error>

    /// The next bytes of the file; nil at its end.
    ///
    /// - Throws: ``EtcdError``, or `CancellationError`.
    public func next() async throws -> [UInt8]? { try await start.get().next() }
  }
}
