import GrpcBridge

extension Caller {
  /// Who a request is made for: whom its `Authorization` header names, else the gateway's own identity where it has one,
  /// else nobody.
  ///
  /// - Parameter keepsPassword: whether the call may outlive the request, as a stream does, whose user may have to be logged
  ///   in again.
  /// - Throws: ``Refusal`` with 401 where the header means nothing.
  init(_ exchange: Exchange, shard: Shard, keepsPassword: Bool = false) throws(Refusal) {
    let credentials: CallCredentials
    switch RequestCredentials(exchange.head.authorization, bridge: shard.bridge) {
    case .none: credentials = shard.identity.map { .user($0) } ?? .none
    case .token(let token): credentials = .token(token)
    case .passwordIsTooLong:
      throw .badRequest("the password has more than \(RequestCredentials.longestPassword) bytes, which is all that etcd looks at")
    case .invalid(let reason): throw Refusal(401, .unauthenticated, reason, headers: HTTPResponse.challenge)
    case .user(let key):
      if keepsPassword, let basic = exchange.basicCredentials {
        credentials = .user(UserCredentials(key, from: KeptPassword(basic)))
      } else {
        credentials = .user(UserCredentials(key, from: exchange))
      }
    }
    self.init(credentials, peer: exchange.peer)
  }
}
