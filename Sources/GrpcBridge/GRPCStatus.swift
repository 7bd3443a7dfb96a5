/// How a call ended.
package struct GRPCStatus: Error, Sendable, Equatable {
  /// Who said so.
  package enum Origin: Sendable, Equatable {
    /// etcd's answer to the call itself.
    case server
    /// etcd refused the login that the call needed.
    case login
    /// This client, before or instead of an answer.
    case client
    /// This client, as the connection has died, or has fallen silent, with the call at the member: etcd may have
    /// executed it, and may even have died of it.
    case lost
    /// This client, which will not log the user in before so many seconds have passed.
    case throttled(retryAfter: Int)
  }

  package var code: GRPCCode
  package var message: String
  package var origin: Origin

  package init(_ code: GRPCCode, _ message: String = "", origin: Origin = .client) {
    self.code = code
    self.message = message
    self.origin = origin
  }

  package var isOK: Bool { code == .ok }
}

extension GRPCStatus {
  /// Whether nothing was heard of a call that etcd may have executed.
  var mayHaveBeenExecuted: Bool { origin == .lost || code == .deadlineExceeded }

  /// Whether the member that had the call may have died of it. What stands between the gateway and etcd, such as etcd's
  /// gRPC proxy, says in words of its own that it has lost its member.
  package var isLoss: Bool {
    origin == .lost
      || origin == .server && code == .unavailable && !message.hasPrefix("etcdserver: ")
        && message != EtcdMessage.notPrimary
  }
}

extension GRPCStatus {
  /// etcd does not accept the token of this call, though the user may well be able to get another one: the token has
  /// expired, was lost with a restart, or was made before users, roles or the use of authentication changed.
  ///
  /// etcd says so before it executes anything, so that the call may be repeated, whatever it is.
  package var asksForNewToken: Bool {
    guard origin == .server else { return false }
    switch (code, message) {
    case (.unauthenticated, EtcdMessage.invalidAuthToken), (.invalidArgument, EtcdMessage.authOldRevision),
      (.invalidArgument, EtcdMessage.userEmpty):
      return true
    // What passes an error on that it has got from elsewhere, as locks and elections do, sends it without its code.
    case (.unknown, EtcdMessage.invalidAuthToken), (.unknown, EtcdMessage.authOldRevision),
      (.unknown, EtcdMessage.userEmpty), (.unknown, EtcdMessage.rawInvalidAuthToken),
      (.unknown, EtcdMessage.rawAuthOldRevision), (.unknown, EtcdMessage.rawUserEmpty):
      return true
    default:
      return false
    }
  }

  /// The same, as the member does not know the token.
  var isOfUnknownToken: Bool {
    asksForNewToken && (message == EtcdMessage.invalidAuthToken || message == EtcdMessage.rawInvalidAuthToken)
  }
}

extension GRPCStatus {
  /// Whether what failed may well succeed if it is tried again a little later.
  package var isPassing: Bool {
    if case .throttled = origin { return true }
    switch code {
    case .unavailable, .internal, .deadlineExceeded: return true
    default: return false
    }
  }
}

extension GRPCStatus {
  /// Whether etcd, or what is in between, may have ended a stream with it for the sake of a single request. Nothing
  /// that is about the caller or the member, and would meet every other request, too.
  var mayBeOfOneRequest: Bool {
    guard origin == .server || origin == .client, !isPassing, !asksForNewToken else { return false }
    switch code {
    case .permissionDenied, .unauthenticated, .unimplemented, .canceled: return false
    default: return true
    }
  }

  /// The status as Go's gRPC prints it, and as etcd tells of it within a watch's response.
  var text: String {
    let name = "\(code)"
    return "rpc error: code = \(name.prefix(1).uppercased())\(name.dropFirst()) desc = \(message)"
  }
}

extension EtcdMessage {
  /// How ends what etcd says of a watch that it does not create for a lack of rights, or of a good token: before it
  /// stands the error's code as text.
  static let mayBeTokens = [permissionDenied, invalidAuthToken, authOldRevision, userEmpty]
}
