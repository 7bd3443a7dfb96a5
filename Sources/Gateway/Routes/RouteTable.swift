import EtcdSchema
import Glibc
import GrpcBridge
import HTTPServer
import Transcoding

/// The routes of the gateway, by path. Made once, read by all shards.
struct RouteTable: Sendable {
  enum Route: Sendable {
    case rpc(RPCRoute)
    case probe(Probe)
    /// An RPC with a stream of requests or responses.
    case stream(RPCRoute)
    /// The database as a file.
    case snapshot(RPCRoute)
    /// A path with a part that varies.
    case varying(Varying)
    /// The keys of a range, or one key that the query or the body names.
    case keys
    /// The changes of a key, or of the keys of a range.
    case changes
    /// Several operations on keys as one.
    case transaction
    /// All leases.
    case leases
    /// The description of this table, for programs.
    case description(OpenAPIFormat)
    /// A file of the page `/docs`; nil for the redirection to its folder.
    case docs(DocsFile?)
    /// The metrics.
    case metrics

    private static let ofLeases: HTTPMethods = [.get, .head, .post]
    private static let ofReads: HTTPMethods = [.get, .head]

    /// The methods of a path. No list is made of them for a request.
    private var methods: HTTPMethods {
      switch self {
      case .rpc, .stream, .transaction: .post
      case .varying(let varying): varying.methods
      case .leases: Self.ofLeases
      case .probe, .docs, .description, .snapshot, .metrics, .changes: Self.ofReads
      case .keys: Varying.ofAll
      }
    }

    /// The methods as in the `Allow` header (RFC 9110, section 10.2.1).
    var allow: String { methods.union(.options).description }

    func takes(_ method: HTTPMethod) -> Bool { methods.contains(HTTPMethods(method)) }

    /// The RPC, which a WebSocket may call, too; nil if the route is no RPC of etcd's.
    var rpc: RPCRoute? {
      switch self {
      case .rpc(let rpc), .stream(let rpc): rpc
      case .probe, .snapshot, .varying, .keys, .changes, .transaction, .leases, .docs, .description, .metrics: nil
      }
    }
  }

  /// The kinds of paths with a part that varies.
  enum Varying: Int, CaseIterable, Sendable {
    /// A key, which is the rest of the path.
    case key
    /// A lease: its ID is the rest of the path.
    case lease
    /// The renewal of a lease: its ID is in the path.
    case leaseRenewal
    /// A lock: its name is the rest of the path.
    case lock
    /// The renewal of the lease of a lock's holder.
    case lockRenewal
    /// An election: its name is the rest of the path.
    case election
    /// The renewal of the leader's lease.
    case electionRenewal
    /// The leader, as it changes.
    case electionChanges

    /// The path, with the part that varies in braces.
    var template: String {
      switch self {
      case .key: "\(KeyRequest.rangePath)/{key}"
      case .lease: "\(LeasePath.all)/{id}"
      case .leaseRenewal: "\(LeasePath.all)/{id}\(LeasePath.renewal)"
      case .lock: "\(QueuePath.locks){name}"
      case .lockRenewal: "\(QueuePath.locks){name}\(QueuePath.renewal)"
      case .election: "\(QueuePath.elections){name}"
      case .electionRenewal: "\(QueuePath.elections){name}\(QueuePath.renewal)"
      case .electionChanges: "\(QueuePath.elections){name}\(QueuePath.changes)"
      }
    }

    private static let ofKey: HTTPMethods = [.get, .head, .put, .delete]
    private static let ofLease: HTTPMethods = [.get, .head, .delete]
    private static let ofLock: HTTPMethods = [.get, .head, .post, .delete]
    private static let ofChanges: HTTPMethods = [.get, .head]
    fileprivate static let ofAll: HTTPMethods = [.get, .head, .post, .put, .delete]

    fileprivate var methods: HTTPMethods {
      switch self {
      case .key: Self.ofKey
      case .lease: Self.ofLease
      case .lock: Self.ofLock
      case .election: Self.ofAll
      case .leaseRenewal, .lockRenewal, .electionRenewal: .post
      case .electionChanges: Self.ofChanges
      }
    }
  }

  /// A path as libmicrohttpd has it. Paths in the table are in memory that is never freed; others live as long as their
  /// request.
  private struct Path: Hashable, @unchecked Sendable {
    let bytes: UnsafeBufferPointer<UInt8>

    static func == (left: Path, right: Path) -> Bool {
      left.bytes.count == right.bytes.count
        && memcmp(left.bytes.baseAddress!, right.bytes.baseAddress!, left.bytes.count) == 0
    }

    func hash(into hasher: inout Hasher) { hasher.combine(bytes: UnsafeRawBufferPointer(bytes)) }
  }

  /// The methods of all paths together, for `OPTIONS *` (RFC 9110, section 9.3.7).
  static let methods = HTTPMethods([.get, .head, .post, .put, .delete, .options]).description

  /// The prefixes of etcd's v3 API over time: clients of 3.2 and 3.3 still use the older ones.
  private static let prefixes = ["/v3/", "/v3beta/", "/v3alpha/"]

  private var routes: [Path: (route: Route, number: Int)] = [:]
  /// The paths by which requests are counted, without the older prefixes. The first two are no paths of routes; the
  /// next ones have parts that vary.
  private(set) var templates = ["none", "*"] + Varying.allCases.map(\.template)
  /// The numbers for paths without a route, and for the server as a whole.
  static let noTemplate = 0
  static let asteriskTemplate = 1
  private static let firstVaryingTemplate = 2

  /// The RPC that observes elections.
  let observation: RPCRoute

  /// - Throws: `SchemaError` if the generated descriptors are broken.
  init() throws {
    let etcd = EtcdSchema()
    let schema = try Schema(etcd.descriptors, rules: Schema.Rules(etcd.descriptors))
    let rpcs = etcd.methods.filter { !$0.httpPaths.isEmpty }.map { ($0, RPCRoute($0, schema: schema)) }
    guard let observation = rpcs.first(where: { $0.0.traits == EtcdRPC.observe.traits })?.1 else {
      preconditionFailure("the schema has no Election service")
    }
    self.observation = observation
    for (method, rpc) in rpcs {
      let route: Route = method.isUnary ? .rpc(rpc) : .stream(rpc)
      for path in method.httpPaths {
        for prefix in Self.prefixes { add(prefix + path.dropFirst(Self.prefixes[0].count), route) }
      }
      if method.traits == EtcdRPC.snapshot.traits { add("/snapshot", .snapshot(rpc)) }
    }
    add(KeyRequest.rangePath, .keys)
    add(KeyRequest.changesPath, .changes)
    add("/txn", .transaction)
    add(LeasePath.all, .leases)
    for probe in Probe.allCases { add(probe.rawValue, .probe(probe)) }
    for format in OpenAPIFormat.allCases { add(format.path, .description(format)) }
    for file in DocsFile.allCases { add(file.urlPath, .docs(file)) }
    add("/docs", .docs(nil))
    add("/metrics", .metrics)
  }

  /// Every path with its route, in no order; paths that vary as templates.
  var all: [(path: String, route: Route)] {
    routes.map { (String(decoding: $0.key.bytes, as: UTF8.self), $0.value.route) }
      + Varying.allCases.map { ($0.template, .varying($0)) }
  }

  /// Whether a path is another one with an older prefix.
  static func isOlderPath(_ path: String) -> Bool { prefixes.dropFirst().contains { path.hasPrefix($0) } }

  /// The number of a path's template; paths with older prefixes share it.
  private mutating func number(of path: String) -> Int {
    let older = Self.prefixes.dropFirst().first { path.hasPrefix($0) }
    let template = older.map { Self.prefixes[0] + path.dropFirst($0.count) } ?? path
    if let known = templates.firstIndex(of: template) { return known }
    templates.append(template)
    return templates.count - 1
  }

  private mutating func add(_ path: String, _ route: Route) {
    let bytes = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: path.utf8.count)
    _ = bytes.initialize(from: path.utf8)
    routes[Path(bytes: UnsafeBufferPointer(bytes))] = (route, number(of: path))
  }

  /// The route of a path, and the number of its template.
  subscript(path: UnsafeBufferPointer<UInt8>) -> (route: Route, number: Int)? {
    if KeyRequest.isPath(path) { return entry(.key) }
    guard !path.isEmpty else { return nil }
    if let known = routes[Path(bytes: path)] { return known }
    return (LeasePath.route(path) ?? QueuePath.route(path)).map(entry)
  }

  private func entry(_ varying: Varying) -> (route: Route, number: Int) {
    (.varying(varying), Self.firstVaryingTemplate + varying.rawValue)
  }
}

/// An RPC, with all that is needed to translate between HTTP and gRPC.
final class RPCRoute: Sendable {
  /// How clients' calls become calls to etcd.
  enum Kind {
    /// Each client's call is its own call, with one request and one response.
    case unary
    /// Each client's call is its own call, with one request and a stream of responses.
    case serverStream
    /// Many clients share a stream, on which each has its own watches.
    case watch
    /// Many clients share a stream, on which each renews its own leases.
    case leaseKeepAlive
  }

  let kind: Kind
  let method: CallMethod
  let request: Schema.Message
  let response: Schema.Message
  /// Whether a call waits for another client by design, so that no default deadline may cut it.
  let waits: Bool
  /// Whether it is a stream that continues as long as its client wants.
  let isEndless: Bool
  /// Whether it is the login itself, whose answers are etcd's.
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
      case EtcdRPC.watch.path: .watch
      case EtcdRPC.leaseKeepAlive.path: .leaseKeepAlive
      default: method.isUnary ? .unary : .serverStream
      }
    isEndless = method.traits.isEndless
    self.method = CallMethod.all[method.traits.number]
    waits = method.traits.waits
    hasPassword = Self.withPassword.contains(method.grpcPath)
    isAuthenticate = method.grpcPath == EtcdRPC.authenticate.path
  }
}
