package import EtcdSchema
internal import Glibc

/// The kinds of calls that wait in a queue of etcd's.
enum QueueKind {
  case lock
  case election
}

/// An RPC as the wire needs it. Made once for each RPC and kept for the life of the process.
package final class CallMethod: Sendable {
  /// The `:path` of its requests: memory that is never freed or changed.
  package nonisolated(unsafe) let path: UnsafeBufferPointer<UInt8>
  /// Whether a call may be sent again though etcd may have executed it.
  let isRepeatable: Bool
  /// Whether a call never changes anything, repeatable or not.
  let isReadOnly: Bool
  /// Whether a client may safely make the call again.
  package var changesNothing: Bool { isRepeatable || isReadOnly }
  /// Whether the owner of a stream continues it by itself, with another call, after it has ended.
  let isResumable: Bool
  /// Whether a successful call may change who can log in.
  let changesUsers: Bool
  /// Whether requests or responses are a stream: such calls go over a connection of their own.
  let isStream: Bool
  /// Whether a member without a leader must end the stream, unless the call says otherwise.
  let requiresLeader: Bool
  /// Which calls must not reach etcd without a token if authentication is on.
  let userNeed: UserNeed
  /// Whether a call must not be cancelled at etcd once it may be executed, neither by its deadline nor because its
  /// maker has lost interest: etcd 3.5.0 to 3.5.4 die of a cancelled transaction of reads (etcd #14110).
  let runsToEnd: Bool
  /// The kind of queue in which a call waits; nil for none.
  let queue: QueueKind?
  /// Whether calls may share a batch (``ReadBatcher``).
  let isRange: Bool
  /// Whether it is a stream for the requests of many clients: watches, and the renewals of leases.
  let isShared: Bool
  /// The RPC's number in counters (``CallNames``).
  let number: Int

  /// Makes any RPC, known to etcd or not.
  init(
    path: String, isRepeatable: Bool, isReadOnly: Bool = false, isResumable: Bool = false, changesUsers: Bool = false,
    isStream: Bool = false, requiresLeader: Bool = false, userNeed: UserNeed = .none, runsToEnd: Bool = false
  ) {
    number = CallNames.number(of: path)
    let bytes = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: path.utf8.count)
    _ = bytes.initialize(from: path.utf8)
    self.path = UnsafeBufferPointer(bytes)
    self.isRepeatable = isRepeatable
    self.isReadOnly = isReadOnly
    self.isResumable = isResumable
    self.changesUsers = changesUsers
    self.isStream = isStream
    self.requiresLeader = requiresLeader
    self.userNeed = userNeed
    self.runsToEnd = runsToEnd
    isRange = isRepeatable && path == EtcdRPC.range.path
    isShared = path == EtcdRPC.watch.path || path == EtcdRPC.leaseKeepAlive.path
    queue =
      switch path {
      case EtcdRPC.lock.path: .lock
      case EtcdRPC.campaign.path: .election
      default: nil
      }
  }

  /// Makes an RPC of etcd's with traits that differ from the `.proto` files.
  ///
  /// - Parameters: the differences; nil for none.
  package convenience init(
    _ traits: RPCTraits, isRepeatable: Bool? = nil, isReadOnly: Bool = false, isResumable: Bool = false,
    userNeed: UserNeed? = nil, runsToEnd: Bool? = nil
  ) {
    self.init(
      path: traits.path, isRepeatable: isRepeatable ?? traits.isRepeatable, isReadOnly: isReadOnly,
      isResumable: isResumable, changesUsers: traits.changesUsers, isStream: !traits.isUnary,
      requiresLeader: traits.isEndless,
      userNeed: userNeed ?? UserNeed(always: traits.needsUser, ifSet: traits.needsUserIf),
      runsToEnd: runsToEnd ?? traits.runsToEnd)
  }

  /// The RPCs of etcd as the `.proto` files have them, by their numbers (``RPCTraits/number``).
  package static let all = EtcdRPC.all.map { CallMethod($0) }
}

extension RPC {
  /// The RPC as the `.proto` files have it.
  package var method: CallMethod { CallMethod.all[traits.number] }
}

/// A protobuf message after room for its gRPC prefix, in memory from `malloc`, with one owner.
package struct CallMessage: ~Copyable {
  /// The bytes that must be left free before the message (gRPC over HTTP/2, "Length-Prefixed-Message").
  package static let headroom = 5

  let frame: UnsafeMutableRawBufferPointer

  /// The message itself.
  var content: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: frame[Self.headroom...]) }

  /// Takes over `memory`, the first ``headroom`` bytes of which become the prefix of the rest.
  package init(takingOwnershipOf memory: UnsafeMutableRawBufferPointer) {
    precondition(memory.count >= Self.headroom)
    frame = memory
    memory[0] = 0
    memory.storeBytes(of: UInt32(memory.count - Self.headroom).bigEndian, toByteOffset: 1, as: UInt32.self)
  }

  /// Copies a message that is already in memory of another kind.
  package init(copying message: some Collection<UInt8>) {
    let memory = UnsafeMutableRawBufferPointer(
      start: malloc(Self.headroom + message.count)!, count: Self.headroom + message.count)
    UnsafeMutableRawBufferPointer(rebasing: memory[Self.headroom...]).copyBytes(from: message)
    self.init(takingOwnershipOf: memory)
  }

  deinit { free(frame.baseAddress) }
}

/// Notifies a call's maker of the call's progress, on the loop of the call.
///
/// Each of these methods may use the ``Bridge`` in any way, on this call or on others. After ``Bridge/cancel(_:)`` the
/// delegate gets no more of the call, not even bytes that have come already, and may be released. ``Bridge/pause(_:)``
/// holds back the member, not bytes that have come.
package protocol CallDelegate: AnyObject {
  /// The response message begins; `length` is its size in bytes.
  func call(_ call: Call, willReceive length: Int)
  /// Bytes of the response message, valid during this method only.
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer)
  /// The response message is complete. Of a stream, another one may follow.
  func callReceivedMessage(_ call: Call)
  /// The call has ended. If the status is OK, every message was received whole. This is the last notification.
  func call(_ call: Call, endedWith status: GRPCStatus)
}

extension CallDelegate {
  package func callReceivedMessage(_ call: Call) {}
}

/// One call, unary or a stream, from its start to its status. Belongs to one loop.
package final class Call {
  enum Phase {
    /// Not started yet, or ended.
    case idle
    /// Waits for its user's login.
    case loggingIn
    /// A read that waits for the end of the turn, or is part of a batch.
    case travelling
    /// Waits for a connection, or for its turn to be sent again.
    case waiting
    /// Is a stream of a connection.
    case sent
  }

  /// Why a call was let pass by the ``AnonymousGate``.
  enum Admission {
    /// It did not have to, or will not have to again.
    case lasting
    /// Authentication was off.
    case withoutUsers
    /// etcd knew its token. That is taken for granted until then.
    case withToken(until: UInt64)
  }

  package let method: CallMethod
  /// The request of a unary call; that of a stream is in ``requests``.
  var message: CallMessage
  /// All requests of a stream; nil for a unary call.
  let requests: RequestStream?
  /// The time limit in the form of gRPC's `grpc-timeout`; empty for none.
  let timeoutText: [UInt8]
  /// The time limit in milliseconds; nil for none.
  let timeout: UInt64?
  /// The call's maker, or the object that replaces it when the maker has lost interest.
  unowned var delegate: any CallDelegate

  /// The largest message that etcd sends, in bytes (`maxSendBytes` in etcd's `v3rpc`).
  package static let maxMessage = Int(Int32.max)
  /// How large a message of the answer may be, in bytes; a larger one ends the call. Owners that keep it whole set
  /// their own limit.
  package var maxBytes = maxMessage

  // The following properties belong to the channel that carries the call.
  var phase = Phase.idle
  /// Its index in the channel's list; negative if it is in none.
  var slot = -1
  /// Whether it is in the channel's list of calls that the clock checks.
  var isWatched = false
  var deadline = UInt64.max
  /// Until when it waits for a connection, or for a connection to take anything of it.
  var patience = UInt64.max
  /// Whether it waits even if all endpoints refuse connections, and the channel's other calls do not.
  var waitsForReady = false
  /// It is not sent before this time.
  var notBefore: UInt64 = 0
  /// Counts its attempts, and decides whether it is sent again.
  var retry = RetryPolicy()
  var caller = Caller(.none, peer: .itself)
  var token: Token?
  /// Whether etcd issued the token after it had refused another one for this call.
  var hasFreshToken = false
  /// Why its caller may make it, as far as that can change while a stream is open.
  var admission = Admission.lasting
  /// The member at which the call failed the last time. It may be gone.
  var failedAt: ObjectIdentifier?
  /// Whether a member without a leader is to refuse the call, or end it (etcd's metadata `hasleader`).
  package var requiresLeader: Bool
  /// The member that the call was last sent to; nil if it has not been sent.
  package internal(set) var endpoint: Endpoint?
  /// Its place in one of etcd's queues; nil for a call that does not wait in one, or is anonymous.
  var place: QueuePlace?
  /// The wishes of its maker for that place; nil if only the request counts.
  let ticket: QueueTicket?
  /// Its batch: the one that it is part of, or the one that it carries.
  var batch: ReadBatch?
  /// Whether it is a read of one key whose answer was large the last time.
  var isSingleRead = false
  var wasLarge = false
  /// When it was sent to its present member, in the nanoseconds of `preciseTime`; 0 if no member has it.
  var sentAt: UInt64 = 0
  /// Its span at that member, in the trace of its caller; nil if none is recorded.
  var span: UInt64?
  /// How often the call was sent again with another token.
  var renewals = 0
  static let maxRenewals = 4
  /// How often a member has refused a token that etcd had just issued.
  var freshRefusals = 0
  static let maxFreshRefusals = 8
  var stream: CallStream

  /// Makes a call for ``Bridge/start(_:for:)``. A stream takes further messages until ``Bridge/finishSending(_:)``.
  ///
  /// - Parameters:
  ///   - ticket: for a call that waits in a queue, with a lease that is granted for it.
  ///   - delegate: not kept alive by the call; needed until the call has ended or was cancelled.
  package init(
    _ method: CallMethod, message: consuming CallMessage, timeout: GRPCTimeout?, ticket: QueueTicket? = nil,
    delegate: any CallDelegate
  ) {
    self.method = method
    self.ticket = ticket
    requests = method.isStream ? RequestStream() : nil
    if let requests {
      requests.append(message)
      self.message = CallMessage(copying: [])
    } else {
      self.message = message
    }
    stream = CallStream(of: method)
    requiresLeader = method.requiresLeader
    self.timeout = timeout?.milliseconds
    // A ticket has a time limit of its own.
    timeoutText = method.runsToEnd || ticket != nil ? [] : timeout?.headerValue ?? []
    self.delegate = delegate
  }

  /// Whether a connection has the call but has sent nothing of its message: etcd cannot have seen it.
  var isUntaken: Bool { phase == .sent && !stream.mayBeExecuted }

  /// Whether it waits for its token. A call that has ended in the meantime, by its deadline or because its client has
  /// disconnected, does not wait; nor does one whose place in a queue is being given up, though it is kept until that
  /// is done.
  var isHeld: Bool { phase == .loggingIn && place?.isWaiting != false }

  /// Reads the request of a unary call, which lives as long as the call.
  package func withMessage<Result>(_ read: (UnsafeRawBufferPointer) -> Result) -> Result { read(message.content) }

  /// Whether etcd may have executed it before it was last sent.
  package var mayHaveBeenExecutedBefore: Bool { retry.attempts > retry.refusals + 1 }

  /// Whether response bytes have reached the delegate: then the call is not repeated any more.
  var hasReceivedMessage: Bool { stream.reader.hasBegun }
}

/// The state of a call's current HTTP/2 stream.
struct CallStream {
  var id: Int32 = -1
  /// Invariant: the connection forgets the call, and clears this, before the connection is released.
  unowned(unsafe) var connection: Connection?
  /// How many bytes of the requests nghttp2 has taken.
  var bytesTaken = 0
  var httpStatus = 0
  var isGRPC = false
  var grpcStatus: Int?
  var grpcMessage = ""
  var reader: FrameReader
  /// Whether nghttp2 has to be woken for further requests.
  var isDeferred = false
  /// While paused, received bytes are not given back to the flow-control window.
  var isPaused = false
  var unconsumed = 0

  init(of method: CallMethod) { reader = FrameReader(takesMany: method.isStream) }

  /// Whether etcd can have seen a request: nothing is executed before its message has come.
  var mayBeExecuted: Bool { bytesTaken > 0 }
}
