package import EventLoop

/// On whose behalf a call is made, and from where: all that a login needs.
package struct Caller {
  package let credentials: CallCredentials
  package let peer: Peer
  /// Measures the call's time at etcd.
  let trace: CallTrace?

  package init(_ credentials: CallCredentials, peer: Peer, trace: CallTrace? = nil) {
    self.credentials = credentials
    self.peer = peer
    self.trace = trace
  }

  /// Whether the call has credentials of any kind.
  package var isSomebody: Bool {
    if case .none = credentials { false } else { true }
  }
}

/// The credentials of a call. Equal ones belong to the same user: their calls may share a stream.
package enum CallCredentials: Hashable {
  /// None: no token is sent.
  case none
  /// A token that etcd has given out.
  case token(Token)
  /// A user and password, for which the bridge has a token or gets one.
  case user(UserCredentials)
}

/// A user and password, known by their key. `source` has them if a login needs them.
package struct UserCredentials: Hashable {
  let key: CredentialKey
  let source: any PasswordSource
  /// Whether they are this process's own: their logins are neither throttled nor delayed by failures.
  let areOwn: Bool

  /// - Parameter key: the key of the user and password that `source` has.
  package init(_ key: CredentialKey, from source: any PasswordSource, areOwn: Bool = false) {
    self.key = key
    self.source = source
    self.areOwn = areOwn
  }

  package static func == (left: Self, right: Self) -> Bool { left.key == right.key }

  package func hash(into hasher: inout Hasher) { hasher.combine(key) }
}

/// An object that has a user name and password. Those of a request stay in its header, as few requests need a login.
package protocol PasswordSource: AnyObject {
  /// Nil once their request is over: a call that still waits for its login then ends with an error.
  var basicCredentials: BasicCredentials? { get }
}

/// A user name and password that are kept.
package final class KeptPassword: PasswordSource {
  private let credentials: BasicCredentials

  package init(_ credentials: BasicCredentials) { self.credentials = credentials }

  package var basicCredentials: BasicCredentials? { credentials }
}
