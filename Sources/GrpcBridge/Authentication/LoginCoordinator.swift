internal import EtcdSchema
import EventLoop
import Logging
internal import SwiftProtobuf

/// The state of the ``Authenticator``, on its thread: one login at a time for each user and password, however many
/// calls wait for it.
///
/// Strangers' failures do not affect users who have logged in before, nor the process's own user: their logins come
/// first, and are never held back.
final class LoginCoordinator {
  typealias AuthenticateReply = @Sendable (Result<[UInt8], GRPCStatus>) -> Void

  private enum Entry {
    /// The requests that wait for the login under way.
    case underWay([Authenticator.LoginReply])
    case token(Token)
  }

  /// Repeated at another member if one is lost: a second token changes nothing.
  private static let method = CallMethod(EtcdRPC.authenticate.traits, isRepeatable: true)
  /// How many refused logins are remembered at most.
  private static let maxRefused = 1024
  /// While strangers fail all the time, they have one login at a time. After each, the connection rests so many times
  /// as long as the login took.
  private static let rest: UInt64 = 4

  private let loop: EventLoop
  private let channel: Channel
  private let configuration: Authenticator.Configuration
  private let logger: Logger
  private let hasher = CredentialHasher()
  private var entries: [CredentialKey: Entry] = [:]
  private var refused: [CredentialKey: (status: GRPCStatus, until: UInt64)] = [:]
  /// The clients' own `Authenticate` requests that wait for a login under way.
  private var authenticating: [CredentialKey: [AuthenticateReply]] = [:]
  private var verified: VerifiedCredentials
  private var waiting: LoginQueue<Login>
  /// Calls do not keep their delegates alive, so these are kept here.
  private var underWay: [ObjectIdentifier: Login] = [:]
  private var throttle: LoginThrottle
  private var counts = LoginCounts()
  /// Until then no stranger is logged in.
  private var restsUntil: UInt64 = 0
  private lazy var restTimer = LoopTimer(loop: loop) { [unowned self] in startWaiting() }

  init(loop: EventLoop, channel: Channel, configuration: Authenticator.Configuration, logger: Logger) {
    self.loop = loop
    self.channel = channel
    self.configuration = configuration
    self.logger = logger
    throttle = LoginThrottle(burst: configuration.maxFailures)
    verified = VerifiedCredentials(limit: configuration.maxTokens)
    waiting = LoginQueue(limit: configuration.maxWaitingLogins)
    loop.beforeWaiting { [unowned channel] in channel.flush() }
  }

  // MARK: - Logins for kept tokens

  func login(_ asked: LoginRequest, reply: @escaping Authenticator.LoginReply) {
    let key = asked.key
    counts.asked &+= 1
    if asked.stale != nil { counts.renewed &+= 1 }
    switch entries[key] {
    case .underWay(let replies):
      counts.shared &+= 1
      entries[key] = .underWay(replies + [reply])
      return
    case .token(let token) where token !== asked.stale:
      counts.cached &+= 1
      return reply(.success((token, isFresh: false)))
    case .token, nil:
      break
    }
    if let known = refused[key] {
      guard loop.now >= known.until else {
        counts.remembered &+= 1
        return reply(.failure(known.status))
      }
      refused[key] = nil
    }
    let request = Etcdserverpb_AuthenticateRequest.with {
      $0.name = asked.credentials.user
      $0.password = asked.credentials.password
    }
    let message: [UInt8]
    do { message = try request.encoded() } catch { return reply(.failure(error)) }
    makeRoom()
    entries[key] = .underWay([reply])
    // A stale token was given for this very user and password.
    let wasGood = asked.stale.map { !$0.isEmpty } ?? false
    let login = Login(
      message, key: key, user: asked.credentials.user, peer: asked.peer,
      standing: asked.isOwn ? .own : wasGood || verified.contains(key) ? .verified : .unknown, coordinator: self
    ) { [unowned self] result in settle(key, result) }
    start(login)
  }

  private func settle(_ key: CredentialKey, _ result: Result<[UInt8], GRPCStatus>) {
    guard case .underWay(let replies) = entries.removeValue(forKey: key) else { return }
    let outcome: Result<Token, GRPCStatus>
    switch result {
    case .success(let message):
      let token = (try? Etcdserverpb_AuthenticateResponse(serializedBytes: message))?.token ?? ""
      outcome =
        token.isEmpty
        ? .failure(GRPCStatus(.internal, "etcd answered a login without a token")) : .success(Token(token.utf8))
    case .failure(let status) where status.code == .failedPrecondition && status.message == EtcdMessage.authNotEnabled:
      outcome = .success(Token([]))
    case .failure(var status):
      if status.isRefusedLogin { status.origin = .login }
      outcome = .failure(status)
    }
    switch outcome {
    case .success(let token): entries[key] = .token(token)
    case .failure(let status) where status.origin == .login: remember(status, of: key)
    case .failure: break
    }
    for reply in replies { reply(outcome.map { ($0, isFresh: true) }) }
  }

  private func remember(_ status: GRPCStatus, of key: CredentialKey) {
    if refused.count >= Self.maxRefused { refused = refused.filter { loop.now < $0.value.until } }
    if refused.count >= Self.maxRefused { refused.removeAll() }
    refused[key] = (status, until: loop.now + configuration.failureMemory)
  }

  /// Keeps the number of entries bounded. Any token may go: its user is logged in again when it is needed.
  private func makeRoom() {
    guard entries.count >= configuration.maxTokens else { return }
    let victim = entries.first { entry in
      if case .underWay = entry.value { false } else { true }
    }
    if let victim { entries[victim.key] = nil }
  }

  func usersHaveChanged() {
    refused = [:]
    throttle.forgiveUsers()
  }

  // MARK: - The clients' own logins

  /// Passes an `AuthenticateRequest` on, and etcd's answer back, within the same limits as all logins. Equal requests
  /// that come while one is under way share its answer.
  func authenticate(_ message: [UInt8], peer: Peer, reply: @escaping AuthenticateReply) {
    counts.asked &+= 1
    let request = try? Etcdserverpb_AuthenticateRequest(serializedBytes: message)
    let (user, password) = (request?.name ?? "", request?.password ?? "")
    // A name with a colon has no key of its own: its beginning may be another user's.
    let key: CredentialKey? =
      user.utf8.contains(UInt8(ascii: ":"))
      ? nil : Array("\(user):\(password)".utf8).withUnsafeBytes { hasher.key(for: $0) }
    let isVerified = key.map { verified.contains($0) } ?? false
    var finish: (Result<[UInt8], GRPCStatus>) -> Void = reply
    // Logins that strangers try are counted one by one.
    if let key, isVerified {
      if let others = authenticating[key] {
        guard others.count < configuration.maxWaitingLogins else {
          counts.throttled &+= 1
          return reply(.failure(Self.tooMany))
        }
        counts.shared &+= 1
        authenticating[key]?.append(reply)
        return
      }
      authenticating[key] = [reply]
      finish = { [unowned self] result in
        for reply in authenticating.removeValue(forKey: key) ?? [] { reply(result) }
      }
    }
    start(
      Login(
        message, key: key, user: user, peer: peer, standing: isVerified ? .verified : .unknown, coordinator: self,
        finish))
  }

  private static let tooMany = GRPCStatus(
    .resourceExhausted, "too many logins are waiting", origin: .throttled(retryAfter: 1))

  // MARK: - At etcd

  private func start(_ login: Login) {
    if let status = refusal(of: login) { return throttle(login, status) }
    login.deadline = loop.now + configuration.timeout
    let rank: LoginQueue<Login>.Rank =
      login.standing != .unknown ? .trusted : throttle.hasFailed(login.peer, now: loop.now) ? .suspect : .stranger
    if let loser = waiting.append(login, from: login.peer, as: rank) {
      throttle(loser, Self.tooMany)
    }
    startWaiting()
  }

  private func startWaiting() {
    while underWay.count < configuration.maxConcurrentLogins {
      guard !waiting.isEmpty, let login = waiting.popFirst(isTrusted: !mayStartStranger()) else { return }
      // Checked again, so that guesses sent all at once are counted as well, and so are successful ones.
      if login.standing == .unknown, let key = login.key, verified.contains(key) { login.standing = .verified }
      if let status = refusal(of: login) {
        throttle(login, status)
        continue
      }
      login.start = loop.now
      underWay[ObjectIdentifier(login)] = login
      let call = Call(
        Self.method, message: CallMessage(copying: login.message),
        timeout: GRPCTimeout(milliseconds: configuration.timeout), delegate: login)
      call.maxBytes = 1 << 20
      channel.send(call)
    }
  }

  /// Ends a login without trying it.
  private func throttle(_ login: Login, _ status: GRPCStatus) {
    counts.throttled &+= 1
    login.finish(.failure(status))
  }

  /// Why a login is not to be tried now; nil if it may be. Users who have logged in before are not held back.
  private func refusal(of login: Login) -> GRPCStatus? {
    guard login.standing == .unknown else { return nil }
    if let seconds = throttle.retryAfter(user: login.user, peer: login.peer, now: loop.now) {
      return GRPCStatus(
        .resourceExhausted, "too many failed logins of this user or from this address: wait \(seconds) s",
        origin: .throttled(retryAfter: seconds))
    }
    guard loop.now >= login.deadline else { return nil }
    return GRPCStatus(
      .resourceExhausted, "the login waited too long for other logins", origin: .throttled(retryAfter: 1))
  }

  /// Whether the login of a stranger may begin. While strangers fail all the time, their cost to etcd is limited: all
  /// strangers wait then.
  private func mayStartStranger() -> Bool {
    guard throttle.isFlooded(now: loop.now) else { return true }
    if underWay.values.contains(where: { $0.standing == .unknown }) { return false }
    guard loop.now < restsUntil else { return true }
    if !restTimer.isActive { restTimer.start(after: restsUntil - loop.now) }
    return false
  }

  fileprivate func ended(_ login: Login, _ status: GRPCStatus) {
    underWay[ObjectIdentifier(login)] = nil
    var status = status
    if login.standing == .unknown {
      let (pause, overflows) = (loop.now - login.start).multipliedReportingOverflow(by: Self.rest)
      restsUntil = loop.now + (overflows ? configuration.timeout : min(pause, configuration.timeout))
    }
    if status.isOK {
      counts.granted &+= 1
      if let key = login.key { verified.insert(key) }
    } else if status.isRefusedLogin {
      counts.refused &+= 1
      // The message is etcd's, and names neither user nor password.
      logger.info("login refused", metadata: ["peer": "\(login.peer)", "reason": "\(status.message)"])
      if let key = login.key { verified.remove(key) }
      // A fault of the process's own user does not count for others.
      if login.standing != .own { throttle.failed(user: login.user, peer: login.peer, now: loop.now) }
      // Strangers must not learn that a user has no password, as they must not learn whether the user exists.
      status = GRPCStatus(.invalidArgument, EtcdMessage.authFailed, origin: .server)
    } else {
      counts.failed &+= 1
    }
    login.finish(status.isOK ? .success(login.response) : .failure(status))
    startWaiting()
  }

  func update(_ endpoints: [Endpoint]) { channel.update(endpoints) }

  /// The counters of logins.
  var sample: AuthenticatorSample {
    var sample = AuthenticatorSample()
    sample.logins = counts
    sample.tokens = entries.values.count { if case .token = $0 { true } else { false } }
    sample.loginsWaiting = waiting.count
    sample.loginsUnderWay = underWay.count
    sample.channel = channel.sample
    return sample
  }

  func close() {
    restTimer.stop()
    while let login = waiting.popFirst() { login.finish(.failure(Channel.closed)) }
    channel.close()
  }
}

extension GRPCStatus {
  /// Whether etcd refused the user and password. It refuses a user that was made without a password with another
  /// message.
  fileprivate var isRefusedLogin: Bool {
    origin == .server && (code == .invalidArgument || (code == .unknown && message == EtcdMessage.noPasswordUser))
  }
}

/// One `Authenticate` call, from the queue to its answer.
private final class Login: CallDelegate {
  /// What is known of a user and password before they are tried.
  enum Standing {
    case unknown
    /// They were valid before.
    case verified
    /// They are the process's own.
    case own
  }

  /// The `AuthenticateRequest`.
  let message: [UInt8]
  /// The hash of user and password; nil if there is none.
  let key: CredentialKey?
  let user: String
  let peer: Peer
  var standing: Standing
  let finish: (Result<[UInt8], GRPCStatus>) -> Void
  private(set) var response: [UInt8] = []
  /// Until when it may wait for its turn.
  var deadline = UInt64.max
  /// When it was sent to etcd.
  var start: UInt64 = 0
  private unowned let coordinator: LoginCoordinator

  init(
    _ message: [UInt8], key: CredentialKey?, user: String, peer: Peer, standing: Standing,
    coordinator: LoginCoordinator,
    _ finish: @escaping (Result<[UInt8], GRPCStatus>) -> Void
  ) {
    self.message = message
    self.key = key
    self.user = user
    self.peer = peer
    self.standing = standing
    self.coordinator = coordinator
    self.finish = finish
  }

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { response.append(contentsOf: bytes) }
  func call(_ call: Call, endedWith status: GRPCStatus) { coordinator.ended(self, status) }
}
