import EtcdSchema
import EventLoop
import Logging
import SwiftProtobuf

/// The state of the ``Authenticator``, on its thread: one login at a time for each user and password, however many ask.
final class LoginDesk {
  private enum Entry {
    case underWay(Login)
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
  private var underWay = 0
  private var throttle: LoginThrottle

  init(loop: EventLoop, channel: Channel, configuration: Authenticator.Configuration, logger: Logger) {
    self.loop = loop
    self.channel = channel
    self.configuration = configuration
    self.logger = logger
    throttle = LoginThrottle(burst: configuration.mostFailures)
    loop.beforeWaiting { [unowned channel] in channel.flush() }
  }

  func login(
    _ key: CredentialKey, _ credentials: BasicCredentials, stale: Token?, peer: String,
    reply: @escaping Authenticator.LoginReply
  ) {
    switch entries[key] {
    case .underWay(let login):
      return login.replies.append(reply)
    case .token(let token) where token !== stale:
      return reply(.success((token, isFresh: false)))
    case .refused(let status, let end) where loop.now < end:
      return reply(.failure(status))
    default:
      break
    }
    guard waiting.count < configuration.mostWaitingLogins else {
      return reply(
        .failure(GrpcStatus(.resourceExhausted, "too many logins are waiting", origin: .throttled(retryAfter: 1))))
    }
    let login = Login(key, credentials, peer: peer, desk: self)
    login.replies.append(reply)
    makeRoom()
    entries[key] = .underWay(login)
    waiting.append(login)
    startWaiting()
  }

  func usersHaveChanged() {
    entries = entries.filter { entry in
      if case .refused = entry.value { false } else { true }
    }
    throttle.forgiveUsers()
  }

  func close() {
    for login in waiting.reversed() {
      finish(login, .failure(GrpcStatus(.unavailable, "the gateway is shutting down")))
    }
    waiting.removeAll()
    channel.close()
  }

  /// Keeps the number of entries bounded. Any token may go: its user is logged in again when it is missed.
  private func makeRoom() {
    guard entries.count >= configuration.mostTokens else { return }
    let victim = entries.first { entry in
      if case .underWay = entry.value { false } else { true }
    }
    if let victim { entries[victim.key] = nil }
  }

  private func startWaiting() {
    while underWay < configuration.mostConcurrentLogins, !waiting.isEmpty {
      let login = waiting.removeFirst()
      // Looked at only now, so that guesses sent all at once are counted as well.
      if let seconds = throttle.retryAfter(user: login.credentials.user, peer: login.peer, now: loop.now) {
        let status = GrpcStatus(
          .resourceExhausted, "too many failed logins of this user or from this address: wait \(seconds) s",
          origin: .throttled(retryAfter: seconds))
        finish(login, .failure(status))
        continue
      }
      underWay += 1
      let request = Etcdserverpb_AuthenticateRequest.with {
        $0.name = login.credentials.user
        $0.password = login.credentials.password
      }
      // Serialising two strings cannot fail.
      let message: [UInt8] = (try? request.serializedBytes()) ?? []
      login.call = Call(
        Self.method, message: CallMessage(copying: message),
        timeout: GrpcTimeout(milliseconds: configuration.timeout), delegate: login)
      channel.send(login.call!)
    }
  }

  fileprivate func ended(_ login: Login, _ status: GrpcStatus) {
    underWay -= 1
    if status.isOK {
      if let response = try? Etcdserverpb_AuthenticateResponse(serializedBytes: login.response), !response.token.isEmpty
      {
        finish(login, .success(Token(response.token.utf8)))
      } else {
        finish(login, .failure(GrpcStatus(.internal, "etcd answered a login without a token")))
      }
    } else if status.code == .failedPrecondition && status.message == EtcdMessage.authNotEnabled {
      finish(login, .success(Token([])))
    } else if status.origin == .server && status.code == .invalidArgument {
      // The message is etcd's and names neither user nor password.
      logger.info("login refused", metadata: ["peer": "\(login.peer)", "reason": "\(status.message)"])
      throttle.failed(user: login.credentials.user, peer: login.peer, now: loop.now)
      var status = status
      status.origin = .login
      finish(login, .failure(status))
    } else {
      finish(login, .failure(status))
    }
    startWaiting()
  }

  private func finish(_ login: Login, _ result: Result<Token, GrpcStatus>) {
    switch result {
    case .success(let token): entries[login.key] = .token(token)
    case .failure(let status) where status.origin == .login:
      entries[login.key] = .refused(status, until: loop.now + configuration.failureMemory)
    case .failure: entries[login.key] = nil
    }
    for reply in login.replies { reply(result.map { ($0, isFresh: true) }) }
  }
}

/// One `Authenticate` call and those who wait for it.
private final class Login: CallDelegate {
  let key: CredentialKey
  let credentials: BasicCredentials
  let peer: String
  var replies: [Authenticator.LoginReply] = []
  var call: Call?
  private(set) var response: [UInt8] = []
  private unowned let desk: LoginDesk

  init(_ key: CredentialKey, _ credentials: BasicCredentials, peer: String, desk: LoginDesk) {
    self.key = key
    self.credentials = credentials
    self.peer = peer
    self.desk = desk
  }

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { response.append(contentsOf: bytes) }
  func call(_ call: Call, endedWith status: GrpcStatus) { desk.ended(self, status) }
  func credentials(for call: Call) -> BasicCredentials { credentials }
  func peer(of call: Call) -> String { peer }
}
