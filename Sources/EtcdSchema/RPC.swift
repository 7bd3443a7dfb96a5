package import SwiftProtobuf

/// The properties of an RPC and of its calls in the `.proto` files.
package struct RPCTraits: Sendable, Equatable {
  /// Its index in ``EtcdRPC/all``.
  package let number: Int
  /// The `:path` of its calls (gRPC over HTTP/2, "Requests"), such as `/etcdserverpb.KV/Range`.
  package let path: String
  package let isClientStreaming: Bool
  package let isServerStreaming: Bool
  /// Whether a call may be sent again though etcd may have executed it (clientv3's repeatable calls).
  package let isRepeatable: Bool
  /// Whether a call waits for another client by design, so that no default deadline may cut it.
  package let waits: Bool
  /// Whether it is a stream that continues as long as its client wants.
  package let isEndless: Bool
  /// Whether old releases execute a call without credentials though authentication is on, so that an anonymous one must
  /// not reach etcd.
  package let needsUser: Bool
  /// The number field that a request must have set for that; 0 if it applies to all requests.
  package let needsUserIf: UInt32
  /// Whether a call must not be cancelled at etcd once it may be executed.
  package let runsToEnd: Bool
  /// Whether a successful call may change which users can log in, or with which password.
  package let changesUsers: Bool

  package var isUnary: Bool { !isClientStreaming && !isServerStreaming }
}

/// An RPC with the types of its messages.
package struct RPC<Request: Message, Response: Message>: Sendable {
  package let traits: RPCTraits
  package var path: String { traits.path }

  init(
    number: Int, path: String, isClientStreaming: Bool = false, isServerStreaming: Bool = false,
    isRepeatable: Bool = false, waits: Bool = false, isEndless: Bool = false, needsUser: Bool = false,
    needsUserIf: UInt32 = 0, runsToEnd: Bool = false, changesUsers: Bool = false
  ) {
    traits = RPCTraits(
      number: number, path: path, isClientStreaming: isClientStreaming, isServerStreaming: isServerStreaming,
      isRepeatable: isRepeatable, waits: waits, isEndless: isEndless, needsUser: needsUser, needsUserIf: needsUserIf,
      runsToEnd: runsToEnd, changesUsers: changesUsers)
  }
}
