import GrpcBridge

/// Who a request is made for: whom its header names, else the gateway's own identity where it has one, else nobody.
struct Caller {
  let credentials: CallCredentials
  /// Whether the credentials are the gateway's.
  private let usesIdentity: Bool

  /// - Throws: ``Refusal`` with 401 where the header means nothing.
  init(_ header: HeaderValue?, shard: Shard) throws(Refusal) {
    switch RequestCredentials(header, bridge: shard.bridge) {
    case .user(let key): credentials = .user(key)
    case .token(let token): credentials = .token(token)
    case .invalid(let reason): throw Refusal(401, .unauthenticated, reason, headers: HTTPResponse.challenge)
    case .none:
      usesIdentity = shard.identity != nil
      credentials = shard.identity.map { .user($0.key) } ?? .none
      return
    }
    usesIdentity = false
  }

  /// Whether there is anybody.
  var isSomebody: Bool {
    if case .none = credentials { false } else { true }
  }

  /// The user and password; `header` is the one that the caller was made from.
  func basicCredentials(_ header: HeaderValue?, shard: Shard) -> BasicCredentials {
    if usesIdentity, let identity = shard.identity { return identity.credentials }
    return RequestCredentials.basicCredentials(header)
  }

  /// What a stream keeps of its caller.
  func streamCredentials(_ header: HeaderValue?, shard: Shard) -> StreamCredentials {
    guard case .user = credentials else { return StreamCredentials(credentials: credentials, basic: nil) }
    return StreamCredentials(credentials: credentials, basic: basicCredentials(header, shard: shard))
  }
}
