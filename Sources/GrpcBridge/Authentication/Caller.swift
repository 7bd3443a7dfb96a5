package import EventLoop

/// On whose behalf a call is made, and where that came from: all that a login takes.
package struct Caller {
  package let credentials: CallCredentials
  package let peer: Peer
  /// What hears of the call's time at etcd.
  let trace: CallTrace?

  package init(_ credentials: CallCredentials, peer: Peer, trace: CallTrace? = nil) {
    self.credentials = credentials
    self.peer = peer
    self.trace = trace
  }

  /// Whether the call has credentials, of whatever kind.
  package var isSomebody: Bool {
    if case .none = credentials { false } else { true }
  }
}

/// The credentials of a call. Equal ones are the same user's: calls that have them may share a stream.
package enum CallCredentials: Hashable {
  /// None: no token is sent.
  case none
  /// A token that etcd has given out.
  case token(Token)
  /// A user and password, for which the bridge has a token or gets one.
  case user(UserCredentials)
}

/// A user and password, known by their key, and where to get them from if a login needs them.
package struct UserCredentials: Hashable {
  let key: CredentialKey
  let source: any PasswordSource
  /// Whether they are this process's own: no failure of others, and none of theirs, slows their logins down.
  let areOwn: Bool

  /// - Parameter key: that of what `source` has.
  package init(_ key: CredentialKey, from source: any PasswordSource, areOwn: Bool = false) {
    self.key = key
    self.source = source
    self.areOwn = areOwn
  }

  package static func == (left: Self, right: Self) -> Bool { left.key == right.key }

  package func hash(into hasher: inout Hasher) { hasher.combine(key) }
}

/// What has a user name and password. Those of a request stay where they came in, as few requests need a login.
package protocol PasswordSource: AnyObject {
  /// Nil once the request is over that they came with: a call that is still to be logged in then ends with an error.
  var basicCredentials: BasicCredentials? { get }
}

/// A user name and password that are kept.
package final class KeptPassword: PasswordSource {
  private let credentials: BasicCredentials

  package init(_ credentials: BasicCredentials) { self.credentials = credentials }

  package var basicCredentials: BasicCredentials? { credentials }
}
