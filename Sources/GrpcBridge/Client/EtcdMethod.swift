internal import EtcdSchema

/// Etcd's unary RPCs and those that answer with a stream. Which may be repeated is said by the `.proto` files; a test
/// compares.
enum EtcdMethod {
  static let range = RPC<Etcdserverpb_RangeRequest, Etcdserverpb_RangeResponse>(
    "/etcdserverpb.KV/Range", isRepeatable: true)
  static let put = RPC<Etcdserverpb_PutRequest, Etcdserverpb_PutResponse>("/etcdserverpb.KV/Put")
  static let deleteRange = RPC<Etcdserverpb_DeleteRangeRequest, Etcdserverpb_DeleteRangeResponse>(
    "/etcdserverpb.KV/DeleteRange")
  static let txn = RPC<Etcdserverpb_TxnRequest, Etcdserverpb_TxnResponse>("/etcdserverpb.KV/Txn")
  static let compact = RPC<Etcdserverpb_CompactionRequest, Etcdserverpb_CompactionResponse>("/etcdserverpb.KV/Compact")

  static let leaseGrant = RPC<Etcdserverpb_LeaseGrantRequest, Etcdserverpb_LeaseGrantResponse>(
    "/etcdserverpb.Lease/LeaseGrant", isRepeatable: true)
  static let leaseRevoke = RPC<Etcdserverpb_LeaseRevokeRequest, Etcdserverpb_LeaseRevokeResponse>(
    "/etcdserverpb.Lease/LeaseRevoke", isRepeatable: true)
  static let leaseTimeToLive = RPC<Etcdserverpb_LeaseTimeToLiveRequest, Etcdserverpb_LeaseTimeToLiveResponse>(
    "/etcdserverpb.Lease/LeaseTimeToLive", isRepeatable: true)
  static let leaseLeases = RPC<Etcdserverpb_LeaseLeasesRequest, Etcdserverpb_LeaseLeasesResponse>(
    "/etcdserverpb.Lease/LeaseLeases", isRepeatable: true)

  static let authEnable = RPC<Etcdserverpb_AuthEnableRequest, Etcdserverpb_AuthEnableResponse>(
    "/etcdserverpb.Auth/AuthEnable", changesUsers: true)
  static let authDisable = RPC<Etcdserverpb_AuthDisableRequest, Etcdserverpb_AuthDisableResponse>(
    "/etcdserverpb.Auth/AuthDisable", changesUsers: true)
  static let authStatus = RPC<Etcdserverpb_AuthStatusRequest, Etcdserverpb_AuthStatusResponse>(
    "/etcdserverpb.Auth/AuthStatus", changesUsers: true)
  static let authenticate = RPC<Etcdserverpb_AuthenticateRequest, Etcdserverpb_AuthenticateResponse>(
    "/etcdserverpb.Auth/Authenticate", changesUsers: true)
  static let userAdd = RPC<Etcdserverpb_AuthUserAddRequest, Etcdserverpb_AuthUserAddResponse>(
    "/etcdserverpb.Auth/UserAdd", changesUsers: true)
  static let userGet = RPC<Etcdserverpb_AuthUserGetRequest, Etcdserverpb_AuthUserGetResponse>(
    "/etcdserverpb.Auth/UserGet", isRepeatable: true)
  static let userList = RPC<Etcdserverpb_AuthUserListRequest, Etcdserverpb_AuthUserListResponse>(
    "/etcdserverpb.Auth/UserList", isRepeatable: true)
  static let userDelete = RPC<Etcdserverpb_AuthUserDeleteRequest, Etcdserverpb_AuthUserDeleteResponse>(
    "/etcdserverpb.Auth/UserDelete", changesUsers: true)
  static let userChangePassword = RPC<
    Etcdserverpb_AuthUserChangePasswordRequest, Etcdserverpb_AuthUserChangePasswordResponse
  >(
    "/etcdserverpb.Auth/UserChangePassword", changesUsers: true)
  static let userGrantRole = RPC<Etcdserverpb_AuthUserGrantRoleRequest, Etcdserverpb_AuthUserGrantRoleResponse>(
    "/etcdserverpb.Auth/UserGrantRole", changesUsers: true)
  static let userRevokeRole = RPC<Etcdserverpb_AuthUserRevokeRoleRequest, Etcdserverpb_AuthUserRevokeRoleResponse>(
    "/etcdserverpb.Auth/UserRevokeRole", changesUsers: true)
  static let roleAdd = RPC<Etcdserverpb_AuthRoleAddRequest, Etcdserverpb_AuthRoleAddResponse>(
    "/etcdserverpb.Auth/RoleAdd", changesUsers: true)
  static let roleGet = RPC<Etcdserverpb_AuthRoleGetRequest, Etcdserverpb_AuthRoleGetResponse>(
    "/etcdserverpb.Auth/RoleGet", isRepeatable: true)
  static let roleList = RPC<Etcdserverpb_AuthRoleListRequest, Etcdserverpb_AuthRoleListResponse>(
    "/etcdserverpb.Auth/RoleList", isRepeatable: true)
  static let roleDelete = RPC<Etcdserverpb_AuthRoleDeleteRequest, Etcdserverpb_AuthRoleDeleteResponse>(
    "/etcdserverpb.Auth/RoleDelete", changesUsers: true)
  static let roleGrantPermission = RPC<
    Etcdserverpb_AuthRoleGrantPermissionRequest, Etcdserverpb_AuthRoleGrantPermissionResponse
  >(
    "/etcdserverpb.Auth/RoleGrantPermission", changesUsers: true)
  static let roleRevokePermission = RPC<
    Etcdserverpb_AuthRoleRevokePermissionRequest, Etcdserverpb_AuthRoleRevokePermissionResponse
  >(
    "/etcdserverpb.Auth/RoleRevokePermission", changesUsers: true)

  static let memberAdd = RPC<Etcdserverpb_MemberAddRequest, Etcdserverpb_MemberAddResponse>(
    "/etcdserverpb.Cluster/MemberAdd")
  static let memberRemove = RPC<Etcdserverpb_MemberRemoveRequest, Etcdserverpb_MemberRemoveResponse>(
    "/etcdserverpb.Cluster/MemberRemove")
  static let memberUpdate = RPC<Etcdserverpb_MemberUpdateRequest, Etcdserverpb_MemberUpdateResponse>(
    "/etcdserverpb.Cluster/MemberUpdate")
  static let memberList = RPC<Etcdserverpb_MemberListRequest, Etcdserverpb_MemberListResponse>(
    "/etcdserverpb.Cluster/MemberList", isRepeatable: true)
  static let memberPromote = RPC<Etcdserverpb_MemberPromoteRequest, Etcdserverpb_MemberPromoteResponse>(
    "/etcdserverpb.Cluster/MemberPromote")

  static let alarm = RPC<Etcdserverpb_AlarmRequest, Etcdserverpb_AlarmResponse>(
    "/etcdserverpb.Maintenance/Alarm", isRepeatable: true)
  static let status = RPC<Etcdserverpb_StatusRequest, Etcdserverpb_StatusResponse>(
    "/etcdserverpb.Maintenance/Status", isRepeatable: true)
  static let defragment = RPC<Etcdserverpb_DefragmentRequest, Etcdserverpb_DefragmentResponse>(
    "/etcdserverpb.Maintenance/Defragment")
  static let hash = RPC<Etcdserverpb_HashRequest, Etcdserverpb_HashResponse>(
    "/etcdserverpb.Maintenance/Hash", isRepeatable: true)
  static let hashKV = RPC<Etcdserverpb_HashKVRequest, Etcdserverpb_HashKVResponse>(
    "/etcdserverpb.Maintenance/HashKV", isRepeatable: true)
  static let snapshot = RPC<Etcdserverpb_SnapshotRequest, Etcdserverpb_SnapshotResponse>(
    "/etcdserverpb.Maintenance/Snapshot", isRepeatable: true, isStream: true)
  static let moveLeader = RPC<Etcdserverpb_MoveLeaderRequest, Etcdserverpb_MoveLeaderResponse>(
    "/etcdserverpb.Maintenance/MoveLeader", isRepeatable: true)
  static let downgrade = RPC<Etcdserverpb_DowngradeRequest, Etcdserverpb_DowngradeResponse>(
    "/etcdserverpb.Maintenance/Downgrade")

  static let lock = RPC<V3lockpb_LockRequest, V3lockpb_LockResponse>("/v3lockpb.Lock/Lock")
  static let unlock = RPC<V3lockpb_UnlockRequest, V3lockpb_UnlockResponse>("/v3lockpb.Lock/Unlock")

  static let campaign = RPC<V3electionpb_CampaignRequest, V3electionpb_CampaignResponse>(
    "/v3electionpb.Election/Campaign")
  static let proclaim = RPC<V3electionpb_ProclaimRequest, V3electionpb_ProclaimResponse>(
    "/v3electionpb.Election/Proclaim")
  static let leader = RPC<V3electionpb_LeaderRequest, V3electionpb_LeaderResponse>("/v3electionpb.Election/Leader")
  static let observe = RPC<V3electionpb_LeaderRequest, V3electionpb_LeaderResponse>(
    "/v3electionpb.Election/Observe", isStream: true)
  static let resign = RPC<V3electionpb_ResignRequest, V3electionpb_ResignResponse>("/v3electionpb.Election/Resign")

  /// All of them.
  static let all = [
    range.method, put.method, deleteRange.method, txn.method, compact.method, leaseGrant.method, leaseRevoke.method,
    leaseTimeToLive.method, leaseLeases.method, authEnable.method, authDisable.method, authStatus.method,
    authenticate.method, userAdd.method, userGet.method, userList.method, userDelete.method, userChangePassword.method,
    userGrantRole.method, userRevokeRole.method, roleAdd.method, roleGet.method, roleList.method, roleDelete.method,
    roleGrantPermission.method, roleRevokePermission.method, memberAdd.method, memberRemove.method, memberUpdate.method,
    memberList.method, memberPromote.method, alarm.method, status.method, defragment.method, hash.method, hashKV.method,
    snapshot.method, moveLeader.method, downgrade.method, lock.method, unlock.method, campaign.method, proclaim.method,
    leader.method, observe.method, resign.method,
  ]
}
