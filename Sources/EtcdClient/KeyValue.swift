internal import EtcdSchema
public import GrpcBridge

/// The header of each answer of etcd's.
public struct ResponseHeader: Sendable, Hashable {
  /// The ID of the cluster.
  public let clusterID: UInt64
  /// The member that has answered.
  public let memberID: MemberID
  /// The store's revision when the answer was made; of a write, that of the write. 0 if the call is not about the
  /// store.
  public let revision: Int64
  /// The member's Raft term.
  public let raftTerm: UInt64

  init(_ header: Etcdserverpb_ResponseHeader) {
    clusterID = header.clusterID
    memberID = MemberID(header.memberID)
    revision = header.revision
    raftTerm = header.raftTerm
  }
}

/// A key and its value.
public struct KeyValue: Sendable, Hashable {
  public let key: Bytes
  public let value: Bytes
  /// The revision of the key's creation.
  public let createRevision: Int64
  /// The revision of the last change; of a deletion, its own.
  public let modRevision: Int64
  /// How many changes there were since the creation, which is the first; 0 once the key is deleted.
  public let version: Int64
  /// The lease that the key is attached to; nil for none.
  public let lease: LeaseID?

  init(_ keyValue: Mvccpb_KeyValue) {
    key = Bytes(keyValue.key)
    value = Bytes(keyValue.value)
    createRevision = keyValue.createRevision
    modRevision = keyValue.modRevision
    version = keyValue.version
    lease = keyValue.lease == 0 ? nil : LeaseID(keyValue.lease)
  }
}

/// The ID of a lease.
public struct LeaseID: RawRepresentable, Sendable, Hashable, ExpressibleByIntegerLiteral, CustomStringConvertible {
  public let rawValue: Int64

  public init(rawValue: Int64) { self.rawValue = rawValue }
  public init(_ id: Int64) { rawValue = id }
  public init(integerLiteral id: Int64) { rawValue = id }

  /// In hexadecimal, as etcdctl has it.
  public var description: String { String(UInt64(bitPattern: rawValue), radix: 16) }
}

/// The ID of a member of the cluster.
public struct MemberID: RawRepresentable, Sendable, Hashable, ExpressibleByIntegerLiteral, CustomStringConvertible {
  public let rawValue: UInt64

  public init(rawValue: UInt64) { self.rawValue = rawValue }
  public init(_ id: UInt64) { rawValue = id }
  public init(integerLiteral id: UInt64) { rawValue = id }

  /// In hexadecimal, as etcdctl has it.
  public var description: String { String(rawValue, radix: 16) }
}
