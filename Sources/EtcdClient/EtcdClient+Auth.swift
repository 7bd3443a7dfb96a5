internal import EtcdSchema
public import GrpcBridge

/// Authentication, users and roles (etcd documentation, "Role-based access control").
///
/// With authentication on, all but ``authenticate(user:password:timeout:)`` need the role `root`.
extension EtcdClient {
  /// Switches authentication on: there must be a user `root` with the role `root`.
  @discardableResult
  public func enableAuth(timeout: Duration? = nil) async throws -> ResponseHeader {
    ResponseHeader(try await call(EtcdRPC.authEnable, .init(), .usual(timeout)).header)
  }

  /// Switches authentication off.
  @discardableResult
  public func disableAuth(timeout: Duration? = nil) async throws -> ResponseHeader {
    ResponseHeader(try await call(EtcdRPC.authDisable, .init(), .usual(timeout)).header)
  }

  /// Whether authentication is on. etcd 3.5 and later.
  public func authStatus(timeout: Duration? = nil) async throws -> AuthStatus {
    AuthStatus(try await call(EtcdRPC.authStatus, .init(), .usual(timeout)))
  }

  /// Fetches a token for a user, for ``Credentials/token(_:)``. Clients with ``Credentials/basic(user:password:)`` do
  /// that by themselves.
  public func authenticate(user: String, password: String, timeout: Duration? = nil) async throws -> String {
    let request = Etcdserverpb_AuthenticateRequest.with {
      $0.name = user
      $0.password = password
    }
    return try await call(EtcdRPC.authenticate, request, .usual(timeout), hasCredentials: false).token
  }

  // MARK: Users

  /// Adds a user.
  ///
  /// - Parameters:
  ///   - name: the user's name.
  ///   - password: nil for a user that logs in by a client certificate only.
  ///   - timeout: the time limit; nil for the usual one.
  @discardableResult
  public func addUser(_ name: String, password: String?, timeout: Duration? = nil) async throws -> ResponseHeader {
    let request = Etcdserverpb_AuthUserAddRequest.with {
      $0.name = name
      $0.password = password ?? ""
      $0.options.noPassword = password == nil
    }
    return ResponseHeader(try await call(EtcdRPC.userAdd, request, .usual(timeout)).header)
  }

  /// The roles of a user.
  public func roles(ofUser name: String, timeout: Duration? = nil) async throws -> [String] {
    try await call(EtcdRPC.userGet, .with { $0.name = name }, .usual(timeout)).roles
  }

  /// The names of all users.
  public func users(timeout: Duration? = nil) async throws -> [String] {
    try await call(EtcdRPC.userList, .init(), .usual(timeout)).users
  }

  /// Deletes a user.
  @discardableResult
  public func deleteUser(_ name: String, timeout: Duration? = nil) async throws -> ResponseHeader {
    ResponseHeader(try await call(EtcdRPC.userDelete, .with { $0.name = name }, .usual(timeout)).header)
  }

  /// Gives a user another password.
  @discardableResult
  public func changePassword(
    ofUser name: String, to password: String, timeout: Duration? = nil
  ) async throws -> ResponseHeader {
    let request = Etcdserverpb_AuthUserChangePasswordRequest.with {
      $0.name = name
      $0.password = password
    }
    return ResponseHeader(try await call(EtcdRPC.userChangePassword, request, .usual(timeout)).header)
  }

  /// Gives a user a role.
  @discardableResult
  public func grantRole(_ role: String, toUser name: String, timeout: Duration? = nil) async throws -> ResponseHeader {
    let request = Etcdserverpb_AuthUserGrantRoleRequest.with {
      $0.user = name
      $0.role = role
    }
    return ResponseHeader(try await call(EtcdRPC.userGrantRole, request, .usual(timeout)).header)
  }

  /// Takes a role from a user.
  @discardableResult
  public func revokeRole(
    _ role: String, fromUser name: String, timeout: Duration? = nil
  ) async throws -> ResponseHeader {
    let request = Etcdserverpb_AuthUserRevokeRoleRequest.with {
      $0.name = name
      $0.role = role
    }
    return ResponseHeader(try await call(EtcdRPC.userRevokeRole, request, .usual(timeout)).header)
  }

  // MARK: Roles

  /// Adds a role.
  @discardableResult
  public func addRole(_ name: String, timeout: Duration? = nil) async throws -> ResponseHeader {
    ResponseHeader(try await call(EtcdRPC.roleAdd, .with { $0.name = name }, .usual(timeout)).header)
  }

  /// What a role permits.
  public func permissions(ofRole name: String, timeout: Duration? = nil) async throws -> [Permission] {
    try await call(EtcdRPC.roleGet, .with { $0.role = name }, .usual(timeout)).perm.map { Permission($0) }
  }

  /// The names of all roles.
  public func roles(timeout: Duration? = nil) async throws -> [String] {
    try await call(EtcdRPC.roleList, .init(), .usual(timeout)).roles
  }

  /// Deletes a role.
  @discardableResult
  public func deleteRole(_ name: String, timeout: Duration? = nil) async throws -> ResponseHeader {
    ResponseHeader(try await call(EtcdRPC.roleDelete, .with { $0.role = name }, .usual(timeout)).header)
  }

  /// Grants a role a permission for a range of keys, which replaces its permission for the same range.
  @discardableResult
  public func grantPermission(
    _ permission: Permission, toRole name: String, timeout: Duration? = nil
  ) async throws -> ResponseHeader {
    let request = Etcdserverpb_AuthRoleGrantPermissionRequest.with {
      $0.name = name
      $0.perm = permission.message
    }
    return ResponseHeader(try await call(EtcdRPC.roleGrantPermission, request, .usual(timeout)).header)
  }

  /// Revokes a role's permission for a range of keys, which must be exactly the range of that permission.
  @discardableResult
  public func revokePermission(
    on range: KeyRange, fromRole name: String, timeout: Duration? = nil
  ) async throws -> ResponseHeader {
    let request = Etcdserverpb_AuthRoleRevokePermissionRequest.with {
      $0.role = name
      $0.key = .init(range.start)
      $0.rangeEnd = .init(range.end)
    }
    return ResponseHeader(try await call(EtcdRPC.roleRevokePermission, request, .usual(timeout)).header)
  }
}

/// Whether authentication is on.
public struct AuthStatus: Sendable, Hashable {
  public let header: ResponseHeader
  public let isEnabled: Bool
  /// The revision of users and roles.
  public let authRevision: UInt64

  init(_ response: Etcdserverpb_AuthStatusResponse) {
    header = ResponseHeader(response.header)
    isEnabled = response.enabled
    authRevision = response.authRevision
  }
}

/// What a role may do with a range of keys.
public struct Permission: Sendable, Hashable {
  public enum Access: Sendable, Hashable {
    case read, write, readWrite
  }

  public var access: Access
  public var range: KeyRange

  public init(_ access: Access, on range: KeyRange) {
    self.access = access
    self.range = range
  }

  init(_ message: Authpb_Permission) {
    access =
      switch message.permType {
      case .write: .write
      case .readwrite: .readWrite
      default: .read
      }
    range = KeyRange(start: Bytes(message.key), end: Bytes(message.rangeEnd))
  }

  fileprivate var message: Authpb_Permission {
    .with {
      $0.permType =
        switch access {
        case .read: .read
        case .write: .write
        case .readWrite: .readwrite
        }
      $0.key = .init(range.start)
      $0.rangeEnd = .init(range.end)
    }
  }
}
