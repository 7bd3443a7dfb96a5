internal import EtcdSchema
internal import GrpcBridge

/// The members of the cluster (etcd documentation, "Runtime reconfiguration").
extension EtcdClient {
  /// All members.
  ///
  /// - Parameters:
  ///   - linearizable: whether the member that answers asks the others first; etcd before 3.5 never does.
  ///   - timeout: the time limit; nil for the usual one.
  public func members(linearizable: Bool = true, timeout: Duration? = nil) async throws -> [ClusterMember] {
    let request = Etcdserverpb_MemberListRequest.with { $0.linearizable = linearizable }
    return try await call(EtcdRPC.memberList, request, .usual(timeout)).members.map { ClusterMember($0) }
  }

  /// Adds a member, which is to be started then.
  ///
  /// - Parameters:
  ///   - peerURLs: its addresses for the other members.
  ///   - isLearner: whether it has no vote until it is promoted.
  ///   - timeout: the time limit; nil for the usual one.
  public func addMember(
    peerURLs: [String], isLearner: Bool = false, timeout: Duration? = nil
  ) async throws -> ClusterMember {
    let request = Etcdserverpb_MemberAddRequest.with {
      $0.peerUrls = peerURLs
      $0.isLearner = isLearner
    }
    return ClusterMember(try await call(EtcdRPC.memberAdd, request, .usual(timeout)).member)
  }

  /// Removes a member; returns the others.
  @discardableResult
  public func removeMember(_ id: MemberID, timeout: Duration? = nil) async throws -> [ClusterMember] {
    let request = Etcdserverpb_MemberRemoveRequest.with { $0.id = id.rawValue }
    return try await call(EtcdRPC.memberRemove, request, .usual(timeout)).members.map { ClusterMember($0) }
  }

  /// Changes a member's addresses for the other members; returns all members.
  @discardableResult
  public func updateMember(
    _ id: MemberID, peerURLs: [String], timeout: Duration? = nil
  ) async throws -> [ClusterMember] {
    let request = Etcdserverpb_MemberUpdateRequest.with {
      $0.id = id.rawValue
      $0.peerUrls = peerURLs
    }
    return try await call(EtcdRPC.memberUpdate, request, .usual(timeout)).members.map { ClusterMember($0) }
  }

  /// Gives a learner its vote; returns all members.
  @discardableResult
  public func promoteMember(_ id: MemberID, timeout: Duration? = nil) async throws -> [ClusterMember] {
    let request = Etcdserverpb_MemberPromoteRequest.with { $0.id = id.rawValue }
    return try await call(EtcdRPC.memberPromote, request, .usual(timeout)).members.map { ClusterMember($0) }
  }
}

/// A member of the cluster.
public struct ClusterMember: Sendable, Hashable {
  public let id: MemberID
  /// Empty until it has been started.
  public let name: String
  /// Its addresses for the other members.
  public let peerURLs: [String]
  /// Its addresses for clients; none until it has been started.
  public let clientURLs: [String]
  /// Whether it has no vote yet.
  public let isLearner: Bool

  init(_ member: Etcdserverpb_Member) {
    id = MemberID(member.id)
    name = member.name
    peerURLs = member.peerUrls
    clientURLs = member.clientUrls
    isLearner = member.isLearner
  }
}
