import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire

/// The RPCs that `/keys`, `/txn`, `/leases`, `/locks` and `/elections` are made of.
enum KeyCalls {
  static let range = EtcdRPC.range.method
  static let put = EtcdRPC.put.method
  static let deleteRange = EtcdRPC.deleteRange.method
  static let txn = EtcdRPC.txn.method
  /// A transaction of puts that say what keys are to be: to put them twice does no harm.
  static let importTxn = CallMethod(EtcdRPC.txn.traits, isRepeatable: true, runsToEnd: false)
  static let leaseGrant = EtcdRPC.leaseGrant.method
  static let leaseRevoke = EtcdRPC.leaseRevoke.method
  static let leaseTimeToLive = EtcdRPC.leaseTimeToLive.method
  static let leaseLeases = EtcdRPC.leaseLeases.method
  static let lock = EtcdRPC.lock.method
  static let campaign = EtcdRPC.campaign.method
  static let proclaim = EtcdRPC.proclaim.method
  /// Far more than an answer has in which there are numbers only, in bytes.
  static let maxNumbers = 64 << 10
}

/// A request message, behind the room for its gRPC prefix.
func keyCallMessage(capacity: Int = 64) -> ByteBuffer {
  var message = ByteBuffer(capacity: CallMessage.headroom + capacity)
  message.appendZeros(CallMessage.headroom)
  return message
}

/// What answers a request for `/keys`, `/txn`, `/leases`, `/locks` or `/elections`.
protocol KeyHandler: RequestHandler {
  var exchange: Exchange { get }
  var shard: Shard { get }
  var caller: Caller { get }
}

extension KeyHandler {
  /// Answers with the error that a call ended with.
  func respond(with status: GRPCStatus) {
    exchange.respond(.keyError(status, hadCredentials: caller.isSomebody))
  }
}

/// One that makes calls, one after the other, for the maker of the request.
protocol KeyCallHandler: KeyHandler, CallDelegate {
  var timeout: GRPCTimeout? { get }
  var call: Call? { get set }
}

extension KeyCallHandler {
  /// Starts a call, which the handler hears of.
  ///
  /// - Parameters:
  ///   - message: made with ``keyCallMessage(capacity:)``.
  ///   - maxBytes: how large the answer may be, in bytes. One with keys in it is counted while it comes.
  func start(_ method: CallMethod, _ message: consuming ByteBuffer, maxBytes: Int = Call.maxMessage) {
    let message = CallMessage(takingOwnershipOf: message.release())
    start(Call(method, message: message, timeout: timeout, delegate: self), maxBytes: maxBytes)
  }

  /// Starts a call that was made for the handler.
  func start(_ call: Call, maxBytes: Int) {
    call.maxBytes = maxBytes
    self.call = call
    shard.bridge.start(call, for: caller)
  }

  /// Ends a call, as there is no room for its answer, or for more of it.
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
  /// The status in the words of the plain resources: etcd has a call without a user fail as one with an empty name.
  func plain(hadCredentials: Bool) -> GRPCStatus {
    guard !hadCredentials, origin == .server, [EtcdMessage.userEmpty, EtcdMessage.rawUserEmpty].contains(message) else {
      return self
    }
    return GRPCStatus(.unauthenticated, "authentication required", origin: .server)
  }
}

extension HTTPResponse {
  /// That there is no such key.
  static func keyNotFound(headers: Headers) -> HTTPResponse {
    .error(
      404, .notFound, "\(EtcdMessage.keyNotFound); GET /keys?prefix=KEY lists the keys that begin with KEY",
      headers: headers)
  }

  /// The headers of an answer that is about a moment, at this revision.
  static func headers(ofMoment revision: Int64) -> Headers {
    [("X-Etcd-Revision", "\(revision)"), ("Cache-Control", "no-store")]
  }

  /// The answer to a request for `/keys` the call of which ended with an error. Some that etcd counts among arguments
  /// that make no sense have a status of their own in HTTP.
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
    // gRPC itself at etcd, which takes somewhat more than etcd does.
    case (.server, .resourceExhausted, _) where message.hasPrefix("grpc: "): (413, [])
    default: httpStatus(hadCredentials: hadCredentials)
    }
  }

  /// Whether etcd has said that it did not do what it was asked for, rather than nothing.
  var isRefusal: Bool {
    switch code {
    case .unavailable, .deadlineExceeded, .canceled, .unknown, .internal: false
    default: true
    }
  }
}
