import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire

/// The RPCs for `/keys`, `/txn`, `/leases`, `/locks` and `/elections`.
enum KeyCalls {
  static let range = EtcdRPC.range.method
  static let put = EtcdRPC.put.method
  static let deleteRange = EtcdRPC.deleteRange.method
  static let txn = EtcdRPC.txn.method
  /// A transaction of puts with the whole content of keys: executing it twice does no harm.
  static let importTxn = CallMethod(EtcdRPC.txn.traits, isRepeatable: true, runsToEnd: false)
  static let leaseGrant = EtcdRPC.leaseGrant.method
  static let leaseRevoke = EtcdRPC.leaseRevoke.method
  static let leaseTimeToLive = EtcdRPC.leaseTimeToLive.method
  static let leaseLeases = EtcdRPC.leaseLeases.method
  static let lock = EtcdRPC.lock.method
  static let campaign = EtcdRPC.campaign.method
  static let proclaim = EtcdRPC.proclaim.method
  /// How large a small answer may be, in bytes: with numbers, a few names, or the members of a cluster it has far less.
  /// It is not counted.
  static let maxSmall = 64 << 10
}

/// A buffer for a request message, after room for its gRPC prefix.
func keyCallMessage(capacity: Int = 64) -> ByteBuffer {
  var message = ByteBuffer(capacity: CallMessage.headroom + capacity)
  message.appendZeros(CallMessage.headroom)
  return message
}

/// Handles a request for `/keys`, `/txn`, `/leases`, `/locks` or `/elections`.
protocol KeyHandler: RequestHandler {
  var exchange: Exchange { get }
  var shard: Shard { get }
  var caller: Caller { get }
}

extension KeyHandler {
  /// Answers with the error of a call.
  func respond(with status: GRPCStatus) {
    exchange.respond(.keyError(status, hadCredentials: caller.isSomebody))
  }
}

/// A handler that makes calls, one after the other, on behalf of the client.
protocol KeyCallHandler: KeyHandler, CallDelegate {
  var timeout: GRPCTimeout? { get }
  var call: Call? { get set }
}

extension KeyCallHandler {
  /// Starts a call with the handler as its delegate.
  ///
  /// - Parameters:
  ///   - message: made with ``keyCallMessage(capacity:)``.
  ///   - maxBytes: how large the answer may be, in bytes. An answer with keys is counted while it comes.
  func start(_ method: CallMethod, _ message: consuming ByteBuffer, maxBytes: Int = Call.maxMessage) {
    let message = CallMessage(takingOwnershipOf: message.release())
    start(Call(method, message: message, timeout: timeout, delegate: self), maxBytes: maxBytes)
  }

  /// Starts a call that was made with the handler as its delegate.
  func start(_ call: Call, maxBytes: Int) {
    call.maxBytes = maxBytes
    self.call = call
    shard.bridge.start(call, for: caller)
  }

  /// Ends a call because there is no room for its answer, or for the rest of it.
  func cut(_ call: Call, _ answer: inout StreamedAnswer) {
    shard.bridge.cancel(call)
    if answer.isStreaming {
      answer.end(isBroken: true, to: exchange)
    } else {
      exchange.respond(.shortage(after: call.method))
    }
  }

  func clientIsGone() {
    if let call { shard.bridge.cancel(call) }
  }
}

extension GRPCStatus {
  /// The status in the words of the plain resources: etcd reports a call without a user as one with an empty user name.
  func plain(hadCredentials: Bool) -> GRPCStatus {
    guard !hadCredentials, origin == .server, [EtcdMessage.userEmpty, EtcdMessage.rawUserEmpty].contains(message) else {
      return self
    }
    return GRPCStatus(.unauthenticated, "authentication required", origin: .server)
  }
}

extension HTTPResponse {
  /// The answer if the key does not exist.
  static func keyNotFound(headers: Headers) -> HTTPResponse {
    .error(
      404, .notFound, "\(EtcdMessage.keyNotFound); GET /keys?prefix=KEY lists the keys that begin with KEY",
      headers: headers)
  }

  /// The headers of an answer that describes the state at this revision.
  static func headers(ofMoment revision: Int64) -> Headers {
    [("X-Etcd-Revision", "\(revision)"), ("Cache-Control", "no-store")]
  }

  /// The answer to a request for `/keys` whose call ended with an error. Some errors that etcd classes as invalid
  /// arguments have an HTTP status of their own.
  static func keyError(_ status: GRPCStatus, hadCredentials: Bool) -> HTTPResponse {
    let status = status.plain(hadCredentials: hadCredentials)
    let (http, headers) = status.keyStatus(hadCredentials: hadCredentials)
    return .error(http, status.code, status.message, headers: headers)
  }
}

extension GRPCStatus {
  /// The HTTP status of ``HTTPResponse/keyError(_:hadCredentials:)``, and the headers that belong to it.
  func keyStatus(hadCredentials: Bool) -> (status: UInt32, headers: HTTPResponse.Headers) {
    switch (origin, code, message) {
    case (.server, _, EtcdMessage.compacted): (410, [])
    // This limit is that of gRPC at etcd, which is somewhat higher than etcd's own.
    case (.server, .resourceExhausted, _) where message.hasPrefix("grpc: "): (413, [])
    default: httpStatus(hadCredentials: hadCredentials)
    }
  }

  /// Whether etcd has answered that it did not execute the call.
  var isRefusal: Bool {
    switch code {
    case .unavailable, .deadlineExceeded, .canceled, .unknown, .internal: false
    default: true
    }
  }
}
