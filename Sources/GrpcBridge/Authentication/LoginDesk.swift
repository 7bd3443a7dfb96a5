import EtcdSchema
import EventLoop
import Logging
import SwiftProtobuf

/// The state of the ``Authenticator``, on its thread: one login at a time for each user and password, however many ask.
final class LoginDesk {
  private enum Entry {
    /// Those who wait for the login that is under way.
    case underWay([Authenticator.LoginReply])
    case token(Token)
    case refused(GrpcStatus, until: UInt64)
  }

  private static let method = CallMethod(path: "/etcdserverpb.Auth/Authenticate", isRepeatable: false)

  private let loop: EventLoop
  private let channel: Channel
  private let configuration: Authenticator.Configuration
  private let logger: Logger
  private var entries: [CredentialKey: Entry] = [:]
  private var waiting: [Login] = []
  /// Calls hold nothing of their delegates: these are held here.
  private var underWay: [ObjectIdentifier: Login] = [:]
  private var throttle: LoginThrottle

  init(loop: EventLoop, channel: Channel, configuration: Authenticator.Configuration, logger: Logger) {
    self.loop = loop
    self.channel = channel
    self.configuration = configuration
    self.logger = logger
    throttle = LoginThrottle(burst: configuration.mostFailures)
    loop.beforeWaiting { [unowned channel] in channel.flush() }
  }

  // MARK: - Logins for tokens that are kept

  func login(
    _ key: CredentialKey, _ credentials: BasicCredentials, stale: Token?, peer: String,
    reply: @escaping Authenticator.LoginReply
  ) {
    // The token that has gone stale was given for this very user and password: nobody is guessing.
    var isVerified = false
    switch entries[key] {
    case .underWay(let replies):
      entries[key] = .underWay(replies + [reply])
      return
    case .token(let token) where token !== stale:
      return reply(.success((token, isFresh: false)))
    case .token(let token):
      isVerified = !token.isEmpty
    case .refused(let status, let end) where loop.now < end:
      return reply(.failure(status))
    default:
      break
    }
    makeRoom()
    entries[key] = .underWay([reply])
    let request = Etcdserverpb_AuthenticateRequest.with {
      $0.name = credentials.user
      $0.password = credentials.password
    }
    // Serialising two strings cannot fail.
    let message: [UInt8] = (try? request.serializedBytes()) ?? []
    start(
      Login(message, user: credentials.user, peer: peer, isVerified: isVerified, desk: self) { [unowned self] result in
        settle(key, result)
      })
  }

  private func settle(_ key: CredentialKey, _ result: Result<[UInt8], GrpcStatus>) {
    guard case .underWay(let replies) = entries.removeValue(forKey: key) else { return }
    let outcome: Result<Token, GrpcStatus>
    switch result {
    case .success(let message):
      let token = (try? Etcdserverpb_AuthenticateResponse(serializedBytes: message))?.token ?? ""
      outcome =
        token.isEmpty
        ? .failure(GrpcStatus(.internal, "etcd answered a login without a token")) : .success(Token(token.utf8))
    case .failure(let status) where status.code == .failedPrecondition && status.message == EtcdMessage.authNotEnabled:
      outcome = .success(Token([]))
    case .failure(var status):
      if status.isRefusedLogin { status.origin = .login }
      outcome = .failure(status)
    }
    switch outcome {
    case .success(let token): entries[key] = .token(token)
    case .failure(let status) where status.origin == .login:
      entries[key] = .refused(status, until: loop.now + configuration.failureMemory)
    case .failure: break
    }
    for reply in replies { reply(outcome.map { ($0, isFresh: true) }) }
  }

  /// Keeps the number of entries bounded. Any token may go: its user is logged in again when it is missed.
  private func makeRoom() {
    guard entries.count >= configuration.mostTokens else { return }
    let victim = entries.first { entry in
      if case .underWay = entry.value { false } else { true }
    }
    if let victim { entries[victim.key] = nil }
  }

  func usersHaveChanged() {
    entries = entries.filter { entry in
      if case .refused = entry.value { false } else { true }
    }
    throttle.forgiveUsers()
  }

  // MARK: - Logins that clients make themselves

  /// Passes an `AuthenticateRequest` on and etcd's answer back, within the same limits as all logins.
  func authenticate(
    _ message: [UInt8], peer: String, reply: @escaping @Sendable (Result<[UInt8], GrpcStatus>) -> Void
  ) {
    let user = (try? Etcdserverpb_AuthenticateRequest(serializedBytes: message))?.name ?? ""
    start(Login(message, user: user, peer: peer, isVerified: false, desk: self, reply))
  }

  // MARK: - At etcd

  private func start(_ login: Login) {
    guard waiting.count < configuration.mostWaitingLogins else {
      let status = GrpcStatus(.resourceExhausted, "too many logins are waiting", origin: .throttled(retryAfter: 1))
      return login.finish(.failure(status))
    }
    waiting.append(login)
    startWaiting()
  }

  private func startWaiting() {
    while underWay.count < configuration.mostConcurrentLogins, !waiting.isEmpty {
      let login = waiting.removeFirst()
      // Looked at only now, so that guesses sent all at once are counted as well.
      if !login.isVerified, let seconds = throttle.retryAfter(user: login.user, peer: login.peer, now: loop.now) {
        let status = GrpcStatus(
          .resourceExhausted, "too many failed logins of this user or from this address: wait \(seconds) s",
          origin: .throttled(retryAfter: seconds))
        login.finish(.failure(status))
        continue
      }
      underWay[ObjectIdentifier(login)] = login
      let call = Call(
        Self.method, message: CallMessage(copying: login.message),
        timeout: GrpcTimeout(milliseconds: configuration.timeout), delegate: login)
      channel.send(call)
    }
  }

  fileprivate func ended(_ login: Login, _ status: GrpcStatus) {
    underWay[ObjectIdentifier(login)] = nil
    if status.isRefusedLogin {
      // The message is etcd's and names neither user nor password.
      logger.info("login refused", metadata: ["peer": "\(login.peer)", "reason": "\(status.message)"])
      throttle.failed(user: login.user, peer: login.peer, now: loop.now)
    }
    login.finish(status.isOK ? .success(login.response) : .failure(status))
    startWaiting()
  }

  func update(_ endpoints: [Endpoint]) { channel.update(endpoints) }

  func close() {
    let left = waiting
    waiting.removeAll()
    for login in left { login.finish(.failure(Channel.closed)) }
    channel.close()
  }
}

extension GrpcStatus {
  /// Whether etcd did not believe the user and password.
  fileprivate var isRefusedLogin: Bool { origin == .server && code == .invalidArgument }
}

/// One `Authenticate` call, from the queue to its answer.
private final class Login: CallDelegate {
  /// The `AuthenticateRequest`.
  let message: [UInt8]
  let user: String
  let peer: String
  /// Whether the user and password were good before.
  let isVerified: Bool
  let finish: (Result<[UInt8], GrpcStatus>) -> Void
  private(set) var response: [UInt8] = []
  private unowned let desk: LoginDesk

  init(
    _ message: [UInt8], user: String, peer: String, isVerified: Bool, desk: LoginDesk,
    _ finish: @escaping (Result<[UInt8], GrpcStatus>) -> Void
  ) {
    self.message = message
    self.user = user
    self.peer = peer
    self.isVerified = isVerified
    self.desk = desk
    self.finish = finish
  }

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { response.append(contentsOf: bytes) }
  func call(_ call: Call, endedWith status: GrpcStatus) { desk.ended(self, status) }
  func credentials(for call: Call) -> BasicCredentials { BasicCredentials(user: user, password: "") }
  func peer(of call: Call) -> String { peer }
}
