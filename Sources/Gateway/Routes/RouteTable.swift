import EtcdSchema
import Glibc
import GrpcBridge
import Transcoding

/// What the gateway serves under which path. Made once, read by all shards.
struct RouteTable: Sendable {
  enum Route: Sendable {
    case rpc(RPCRoute)
    case probe(Probe)
    /// An RPC with a stream of requests or responses.
    case stream(RPCRoute)
    /// The database as a file.
    case snapshot(RPCRoute)
    /// A key, which is the rest of the path.
    case key
    /// The keys of a range.
    case keys
    /// What this table describes, for programs.
    case description(OpenAPIFormat)
    /// A file of the page `/docs`; nil for the way to its folder.
    case docs(DocsFile?)

    /// The methods a path takes, as the `Allow` header names them (RFC 9110, section 10.2.1).
    var allow: String {
      switch self {
      case .rpc, .stream: "POST"
      case .probe, .docs, .description, .snapshot: "GET, HEAD"
      case .key, .keys: "GET, HEAD, PUT, DELETE"
      }
    }

    /// What may be called over a WebSocket, too; nil for what is no RPC of etcd's.
    var rpc: RPCRoute? {
      switch self {
      case .rpc(let rpc), .stream(let rpc): rpc
      case .probe, .snapshot, .key, .keys, .docs, .description: nil
      }
    }

    func takes(_ method: HTTPMethod) -> Bool {
      switch self {
      case .rpc, .stream: method == .post
      case .probe, .docs, .description, .snapshot: method == .get || method == .head
      case .key, .keys: method == .get || method == .head || method == .put || method == .delete
      }
    }
  }

  /// A path as libmicrohttpd has it. Those in the table are in memory that is never freed; others live as long as their
  /// request.
  private struct Path: Hashable, @unchecked Sendable {
    let bytes: UnsafeBufferPointer<UInt8>

    static func == (left: Path, right: Path) -> Bool {
      left.bytes.count == right.bytes.count
        && memcmp(left.bytes.baseAddress!, right.bytes.baseAddress!, left.bytes.count) == 0
    }

    func hash(into hasher: inout Hasher) { hasher.combine(bytes: UnsafeRawBufferPointer(bytes)) }
  }

  /// The methods that some path takes, for `OPTIONS *` (RFC 9110, section 9.3.7).
  static let methods = "GET, HEAD, POST, PUT, DELETE, OPTIONS"

  /// The prefixes etcd has had for its v3 API: clients of 3.2 and 3.3 still ask for the older ones.
  private static let prefixes = ["/v3/", "/v3beta/", "/v3alpha/"]

  private var routes: [Path: Route] = [:]

  /// - Throws: `SchemaError` where the generated descriptors are broken.
  init() throws {
    let etcd = EtcdSchema()
    let schema = try Schema(etcd.descriptors, rules: Schema.Rules(etcd.descriptors))
    for method in etcd.methods where !method.httpPaths.isEmpty {
      let rpc = RPCRoute(method, schema: schema)
      let route: Route = method.isUnary ? .rpc(rpc) : .stream(rpc)
      for path in method.httpPaths {
        for prefix in Self.prefixes { add(prefix + path.dropFirst(Self.prefixes[0].count), route) }
      }
      if method.grpcPath == "/etcdserverpb.Maintenance/Snapshot" { add("/snapshot", .snapshot(rpc)) }
    }
    add(KeyRequest.rangePath, .keys)
    for probe in Probe.allCases { add(probe.rawValue, .probe(probe)) }
    for format in OpenAPIFormat.allCases { add(format.path, .description(format)) }
    for file in DocsFile.allCases { add(file.urlPath, .docs(file)) }
    add("/docs", .docs(nil))
  }

  /// Every path with what it leads to, in no order; that of keys as a template.
  var all: [(path: String, route: Route)] {
    routes.map { (String(decoding: $0.key.bytes, as: UTF8.self), $0.value) } + [("\(KeyRequest.rangePath)/{key}", .key)]
  }

  /// Whether a path is that of another one with a prefix of former times.
  static func isOlderPath(_ path: String) -> Bool { prefixes.dropFirst().contains { path.hasPrefix($0) } }

  private mutating func add(_ path: String, _ route: Route) {
    let bytes = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: path.utf8.count)
    _ = bytes.initialize(from: path.utf8)
    routes[Path(bytes: UnsafeBufferPointer(bytes))] = route
  }

  subscript(path: UnsafeBufferPointer<UInt8>) -> Route? {
    if KeyRequest.isPath(path) { return .key }
    return path.isEmpty ? nil : routes[Path(bytes: path)]
  }
}

/// An RPC, with all that is needed to carry it between HTTP and gRPC.
final class RPCRoute: Sendable {
  /// How clients' calls become calls to etcd.
  enum Kind {
    /// Each is a call of its own, with one request and one response.
    case unary
    /// Each is a call of its own, with one request and a stream of responses.
    case serverStream
    /// Many share a stream, on which each asks for its own watches.
    case watch
    /// Many share a stream, on which each renews its own leases.
    case leaseKeepAlive
  }

  let kind: Kind
  let method: CallMethod
  let request: Schema.Message
  let response: Schema.Message
  /// Whether a call waits for another client by design, so that no default deadline may cut it.
  let waits: Bool
  /// Whether this is a stream that goes on for as long as its client wants.
  let isEndless: Bool
  /// Whether this is the login itself, the answers of which are etcd's.
  let isAuthenticate: Bool
  /// Whether requests have a user's password.
  let hasPassword: Bool

  init(_ method: EtcdSchema.Method, schema: Schema) {
    guard let request = schema.message(method.request), let response = schema.message(method.response) else {
      preconditionFailure("\(method.grpcPath) is about messages that the schema does not have")
    }
    self.request = request
    self.response = response
    kind =
      switch method.grpcPath {
      case "/etcdserverpb.Watch/Watch": .watch
      case "/etcdserverpb.Lease/LeaseKeepAlive": .leaseKeepAlive
      default: method.isUnary ? .unary : .serverStream
      }
    isEndless = !method.isUnary && method.name != "Snapshot"
    self.method = CallMethod(
      path: method.grpcPath, isRepeatable: method.isRepeatable,
      changesUsers: method.service == "etcdserverpb.Auth" && !method.isRepeatable
        && !["Authenticate", "AuthStatus"].contains(method.name),
      isStream: !method.isUnary, requiresLeader: isEndless,
      userNeed: UserNeed(always: method.needsUser, ifSet: method.needsUserIf), runsToEnd: method.runsToEnd)
    waits = method.waits
    hasPassword = Self.withPassword.contains(method.grpcPath)
    isAuthenticate = method.grpcPath == "/etcdserverpb.Auth/Authenticate"
  }
}
