internal import EventLoop
public import GrpcBridge
public import Logging

extension EtcdClient {
  /// Who a client's calls are made for.
  public enum Credentials: Sendable {
    /// Nobody: no token is sent.
    case none
    /// A user. The client logs in over a connection of its own when a call needs it, and again whenever etcd no longer
    /// takes the token. Where etcd does not use authentication, user and password are ignored.
    case basic(user: String, password: String)
    /// The bearer of a token that etcd has given out, as with ``EtcdClient/authenticate(user:password:timeout:)``. It
    /// is never renewed.
    case token(String)
  }

  /// How a client connects, waits and gives up.
  public struct Configuration: Sendable {
    /// Where the members of the cluster serve clients, as ``Endpoint`` reads them: `HOST:PORT`, `https://HOST:PORT`,
    /// `unix:///PATH`. One at least.
    public var endpoints: [String]
    /// Who the calls are made for. Default: nobody.
    public var credentials = Credentials.none

    /// How connections are secured; nil, the default, for TLS only to endpoints that ask for it (`https://`,
    /// `unixs://`), by the system's authorities. With a configuration, endpoints without a scheme are spoken to in TLS,
    /// too.
    public var tls: TLSConfiguration?
    /// How often the cluster is asked for its members, which then take the place of ``endpoints``; nil, the default,
    /// for never. At least 1 s. etcd from 3.5.28 on may tell its members to users with the role `root` only.
    public var autoSyncInterval: Duration?

    /// How long a connection may take to become ready, and how long a call waits for one before it fails with
    /// ``EtcdError/Code/unavailable``. Default: 5 s; at least 1 ms.
    public var dialTimeout = Duration.seconds(5)
    /// Whether calls wait for a connection, too, where nobody listens at any endpoint: they then fail with
    /// ``EtcdError/Code/unavailable`` when ``dialTimeout`` is over, and otherwise at once. Streams always wait. Default:
    /// yes, as with clientv3 (gRPC documentation, "Wait for Ready").
    public var waitsForReady = true
    /// The time limit of calls that are made without one, all attempts and a login included; nil for none. Calls that
    /// wait for others by design (``EtcdClient/lock(_:lease:timeout:)``,
    /// ``EtcdClient/campaign(_:lease:value:timeout:)``) and streams have none. Default: 30 s.
    ///
    /// Every call needs one but for such: a member may stand still without its connection breaking.
    public var requestTimeout: Duration? = .seconds(30)
    /// How long nothing may come from a member on which a stream is open, but which owes no answer, before it is asked
    /// for a sign of life; one that owes an answer is asked after a second. Default: 10 s; at least 5 s, as etcd ends
    /// the connections of those who ask more often.
    public var keepaliveTime = Duration.seconds(10)
    /// How long the sign of life may take before the connection is given up, and others are used. Default: 5 s; at
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
    /// How many bytes of a stream may wait for whoever reads it before etcd is held back, beside the response at hand,
    /// which may have some 4 MiB. Default: 8 MiB; at least 1. Where watches often fall behind, less makes them catch up
    /// more often, each time with what etcd sends anew.
    public var streamBacklog = 8 << 20

    /// Whether members that have lost their cluster are to refuse calls at once, reads with ``GetOptions/serializable``
    /// included, with ``EtcdError/Code/noLeader``. Watches and keepalives leave such members in any case. Default: no.
    public var requireLeader = false
    /// How often etcd is asked how far it is, so that quiet watches are resumed from there and survive compactions.
    /// Default: 60 s; at least 1 s.
    public var watchProgressInterval = Duration.seconds(60)
    /// What hears of connections made and lost; it never gets a token, a password or a value. Default: nobody.
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

  /// What the bridge of a client goes by.
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
  /// - Throws: ``EtcdError``, as all of a client's.
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
