import GrpcBridge
package import HTTPServer

extension Caller {
  /// The caller of a request: the one in its `Authorization` header, otherwise the gateway's own user if it has one,
  /// otherwise anonymous.
  ///
  /// - Parameters:
  ///   - keepsPassword: whether the call may outlive the request, as a stream does, whose user may have to be logged in
  ///     again.
  ///   - isLogin: whether the request has its credentials in its body.
  /// - Throws: ``RequestError`` if the header is malformed (401) or has a password that no user can have (400), or if
  ///   the header is missing though the request may come from a page under another host name (421).
  package init(_ exchange: Exchange, shard: Shard, keepsPassword: Bool = false, isLogin: Bool = false)
    throws(RequestError)
  {
    let credentials: CallCredentials
    switch RequestCredentials(exchange.head.authorization, bridge: shard.bridge) {
    case .none:
      if !isLogin { try exchange.checkHost(shard.settings.hosts) }
      credentials = shard.identity.map { .user($0) } ?? .none
    case .token(let token): credentials = .token(token)
    case .passwordIsTooLong: throw .passwordIsTooLong("the password of the Authorization header")
    case .invalid(let reason): throw RequestError(401, reason)
    case .user(let key):
      if keepsPassword, let basic = exchange.basicCredentials {
        credentials = .user(UserCredentials(key, from: KeptPassword(basic)))
      } else {
        credentials = .user(UserCredentials(key, from: exchange))
      }
    }
    self.init(credentials, peer: exchange.peer, trace: exchange.trace)
  }
}

extension Caller {
  /// What etcd's refusal of a watch means. 3.5 denies it to anonymous clients and to users without the permission in
  /// the same words, while for other calls it says that there is no user. A client that could log in must be asked to.
  func meaning(of refusal: GRPCStatus) -> GRPCStatus {
    guard !isSomebody, refusal.code == .permissionDenied else { return refusal }
    return GRPCStatus(.invalidArgument, EtcdMessage.userEmpty, origin: .server)
  }
}
