/// How a call ended.
package struct GRPCStatus: Error, Sendable, Equatable {
  /// Where the status comes from.
  package enum Origin: Sendable, Equatable {
    /// etcd's answer to the call itself.
    case server
    /// etcd refused the login that the call needed.
    case login
    /// This client, before or in place of an answer.
    case client
    /// This client, because the connection has died, or has fallen silent, with the call at the member. etcd may have
    /// executed the call, and may even have died of it.
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
  /// Whether etcd may have executed the call, though no answer came.
  var mayHaveBeenExecuted: Bool { origin == .lost || code == .deadlineExceeded }

  /// Whether the member that had the call may have died of it. What is between the gateway and etcd, such as etcd's
  /// gRPC proxy, reports the loss of its member in its own words.
  package var isLoss: Bool {
    origin == .lost
      || origin == .server && code == .unavailable && !message.hasPrefix("etcdserver: ")
        && message != EtcdMessage.notPrimary
  }
}

extension GRPCStatus {
  /// etcd does not accept the token of this call, but the user may well get another one: the token has expired, was
  /// lost with a restart, or was made before users, roles or the use of authentication changed.
  ///
  /// etcd says so before it executes anything, so that any call may be repeated.
  package var asksForNewToken: Bool {
    guard origin == .server else { return false }
    switch (code, message) {
    case (.unauthenticated, EtcdMessage.invalidAuthToken), (.invalidArgument, EtcdMessage.authOldRevision),
      (.invalidArgument, EtcdMessage.userEmpty):
      return true
    // An error that is passed on from elsewhere, as by locks and elections, comes without its code.
    case (.unknown, EtcdMessage.invalidAuthToken), (.unknown, EtcdMessage.authOldRevision),
      (.unknown, EtcdMessage.userEmpty), (.unknown, EtcdMessage.rawInvalidAuthToken),
      (.unknown, EtcdMessage.rawAuthOldRevision), (.unknown, EtcdMessage.rawUserEmpty):
      return true
    default:
      return false
    }
  }

  /// The same, because the member does not know the token.
  var isOfUnknownToken: Bool {
    asksForNewToken && (message == EtcdMessage.invalidAuthToken || message == EtcdMessage.rawInvalidAuthToken)
  }
}

extension GRPCStatus {
  /// Whether the same call may well succeed a little later.
  package var isPassing: Bool {
    if case .throttled = origin { return true }
    switch code {
    case .unavailable, .internal, .deadlineExceeded: return true
    default: return false
    }
  }
}

extension GRPCStatus {
  /// Whether etcd, or a proxy before it, may have ended a stream with this status because of a single request, and not
  /// for a reason in the caller or the member, which would concern every other request, too.
  var mayBeOfOneRequest: Bool {
    guard origin == .server || origin == .client, !isPassing, !asksForNewToken else { return false }
    switch code {
    case .permissionDenied, .unauthenticated, .unimplemented, .canceled: return false
    default: return true
    }
  }

  /// The status as Go's gRPC prints it, and as etcd writes it into a watch's response.
  var text: String {
    let name = "\(code)"
    return "rpc error: code = \(name.prefix(1).uppercased())\(name.dropFirst()) desc = \(message)"
  }
}

extension EtcdMessage {
  /// The ends of etcd's messages about a watch that it does not create for lack of a permission, or of a valid token.
  /// Before them is the error's code as text.
  static let mayBeTokens = [permissionDenied, invalidAuthToken, authOldRevision, userEmpty]
}
