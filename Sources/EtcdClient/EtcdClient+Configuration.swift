internal import EventLoop
public import GrpcBridge
public import Logging

extension EtcdClient {
  /// The user of a client's calls.
  public enum Credentials: Sendable {
    /// Anonymous: no token is sent.
    case none
    /// A user. The client logs in over a separate connection when a call needs it, and again when etcd no longer
    /// accepts the token. If etcd does not use authentication, user and password are ignored.
    case basic(user: String, password: String)
    /// A token of etcd, as from ``EtcdClient/authenticate(user:password:timeout:)``. It is never renewed.
    case token(String)
  }

  /// How a client connects, waits and gives up.
  public struct Configuration: Sendable {
    /// The members' addresses for clients, in the form of ``Endpoint``: `HOST:PORT`, `https://HOST:PORT`,
    /// `unix:///PATH`. One at least.
    public var endpoints: [String]
    /// The user of the calls. Default: anonymous.
    public var credentials = Credentials.none

    /// The settings of TLS; nil, the default, for TLS only to endpoints with `https://` or `unixs://`, with the
    /// system's authorities. With a configuration, TLS is also used to endpoints without a scheme.
    public var tls: TLSConfiguration?
    /// How often to ask the cluster for its members, which then replace ``endpoints``; nil, the default, for never. At
    /// least 1 s. etcd from 3.5.28 on may list its members only for users with the role `root`. If the members have
    /// more than 64 endpoints, the former ones stay.
    public var autoSyncInterval: Duration?

    /// How long a connection may take to become ready, and how long a call waits for one before it fails with
    /// ``EtcdError/Code/unavailable``. Default: 5 s; at least 1 ms.
    public var dialTimeout = Duration.seconds(5)
    /// Whether calls wait for a connection even if all endpoints refuse connections: they then fail with
    /// ``EtcdError/Code/unavailable`` after ``dialTimeout``, otherwise at once. Streams always wait. Default:
    /// yes, as with clientv3 (gRPC documentation, "Wait for Ready").
    public var waitsForReady = true
    /// The default time limit of calls, all attempts and a login included; nil for none. Calls that
    /// wait for other clients by design (``EtcdClient/lock(_:lease:timeout:)``,
    /// ``EtcdClient/campaign(_:lease:value:timeout:)``) and streams have none. Default: 30 s.
    ///
    /// All other calls need a limit: a member may hang without its connection breaking.
    public var requestTimeout: Duration? = .seconds(30)
    /// How long a member with an open stream, which owes no answer, may be silent before it gets a PING; a member that
    /// owes an answer gets one after a second. Default: 10 s; at least 5 s, as etcd closes connections with more
    /// frequent PINGs.
    public var keepaliveTime = Duration.seconds(10)
    /// How long the answer to a PING may take before the connection is closed, and others are used. Default: 5 s; at
    /// least 1 ms.
    public var keepaliveTimeout = Duration.seconds(5)

    /// How long to wait between attempts to connect to a member that cannot be reached. Default: 50 ms at first, 1.6
    /// times as long after each attempt, 1 s at most, each give or take a fifth.
    public var backoff = Backoff()

    /// The largest request, in bytes; larger ones fail with ``EtcdError/Code/resourceExhausted``. Default: 2 MiB.
    /// (etcd's own limit is 1.5 MiB unless set otherwise.)
    public var maxSendBytes = 2 << 20
    /// The largest answer of a unary call, in bytes; larger ones fail with ``EtcdError/Code/resourceExhausted``.
    /// Default: no limit.
    public var maxReceiveBytes = Int.max
    /// How many bytes of a stream may wait for its reader before the client reads no more from etcd, besides the
    /// current response, which may have some 4 MiB. Default: 8 MiB; at least 1. With a smaller value, slow watches
    /// catch up more often, and etcd sends their events again each time.
    public var streamBacklog = 8 << 20

    /// Whether members that have lost their cluster refuse calls at once, including reads with
    /// ``GetOptions/serializable``, with ``EtcdError/Code/noLeader``. Watches and keepalives leave such members in any
    /// case. Default: no.
    public var requireLeader = false
    /// How often to ask etcd for its revision, from which quiet watches are resumed, so that they survive compactions.
    /// Default: 60 s; at least 1 s.
    public var watchProgressInterval = Duration.seconds(60)
    /// Logs connections made and lost, and never a token, a password or a value. Default: no log.
    public var logger = Logger(label: "etcd") { _ in SwiftLogNoOpLogHandler() }

    /// The waits between attempts to connect.
    public struct Backoff: Sendable, Hashable {
      /// The first one; at least 1 ms.
      public var first: Duration
      /// The longest one; not shorter than the first.
      public var most: Duration

      public init(first: Duration = .milliseconds(50), most: Duration = .seconds(1)) {
        self.first = first
        self.most = most
      }
    }

    /// The defaults, for these endpoints.
    public init(endpoints: [String]) { self.endpoints = endpoints }
  }
}

extension EtcdClient.Configuration {
  /// - Throws: ``EtcdError`` with ``EtcdError/Code/invalidArgument`` and one line that names the fault.
  func check() throws {
    func need(_ condition: Bool, _ text: String) throws {
      if !condition { throw EtcdError.invalidArgument(text) }
    }
    try need(!endpoints.isEmpty, "no endpoints")
    try need(dialTimeout >= .milliseconds(1), "dialTimeout: at least 1 ms")
    try need(requestTimeout.map { $0 > .zero } ?? true, "requestTimeout: more than zero, or nil")
    try need(keepaliveTime >= .seconds(5), "keepaliveTime: at least 5 s, or etcd ends the connection")
    try need(keepaliveTimeout >= .milliseconds(1), "keepaliveTimeout: at least 1 ms")
    try need(autoSyncInterval.map { $0 >= .seconds(1) } ?? true, "autoSyncInterval: at least 1 s, or nil")
    try need(backoff.first >= .milliseconds(1), "backoff.first: at least 1 ms")
    try need(backoff.most >= backoff.first, "backoff.most: not less than backoff.first")
    try need(maxSendBytes > 0, "maxSendBytes: at least 1")
    try need(maxReceiveBytes > 0, "maxReceiveBytes: at least 1")
    try need(streamBacklog > 0, "streamBacklog: at least 1")
    try need(watchProgressInterval >= .seconds(1), "watchProgressInterval: at least 1 s")
  }

  /// - Throws: ``EtcdError`` for the first text that is no endpoint.
  func parsedEndpoints() throws -> [Endpoint] { try endpoints.map { try Endpoint(forClient: $0) } }

  /// The configuration of the client's bridge.
  var bridge: Bridge.Configuration {
    var bridge = Bridge.Configuration()
    bridge.channel.dialTimeout = dialTimeout.milliseconds
    bridge.channel.waitsForReady = waitsForReady
    bridge.channel.keepaliveTime = keepaliveTime.milliseconds
    bridge.channel.keepaliveTimeout = keepaliveTimeout.milliseconds
    bridge.channel.backoff = GrpcBridge.Backoff(
      first: Double(backoff.first.milliseconds), most: Double(backoff.most.milliseconds), factor: 1.6)
    bridge.watchProgressInterval = watchProgressInterval.milliseconds
    return bridge
  }
}

extension Endpoint {
  /// - Throws: ``EtcdError``, as all of a client's errors.
  init(forClient text: String) throws {
    do {
      try self.init(text)
    } catch {
      throw EtcdError.invalidArgument("\(error)")
    }
  }
}

extension Duration {
  /// Rounded up, 0 for less than nothing, and at most some thousand years, so that times can be added to it.
  package var milliseconds: UInt64 {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    let most: Int64 = 1 << 46
    guard seconds < most / 1000 else { return UInt64(most) }
    return UInt64(seconds) * 1000 + UInt64((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
  }
}
