import GrpcBridge
import Transcoding

/// The RPCs that `/keys` is made of.
enum KeyCalls {
  static let range = CallMethod(path: "/etcdserverpb.KV/Range", isRepeatable: true)
  static let put = CallMethod(path: "/etcdserverpb.KV/Put", isRepeatable: false)
  static let deleteRange = CallMethod(path: "/etcdserverpb.KV/DeleteRange", isRepeatable: false, userNeed: .always)
  static let txn = CallMethod(path: "/etcdserverpb.KV/Txn", isRepeatable: false, userNeed: .always, runsToEnd: true)
  static let leaseGrant = CallMethod(path: "/etcdserverpb.Lease/LeaseGrant", isRepeatable: true, userNeed: .always)
  static let leaseRevoke = CallMethod(path: "/etcdserverpb.Lease/LeaseRevoke", isRepeatable: true, userNeed: .always)
}

/// A request message, behind the room for its gRPC prefix.
func keyCallMessage(capacity: Int = 64) -> ByteBuffer {
  var message = ByteBuffer(capacity: CallMessage.headroom + capacity)
  message.appendZeros(CallMessage.headroom)
  return message
}

/// What a handler of `/keys` has to do with etcd: calls, one after the other, for whoever made the request.
protocol KeyHandler: RequestHandler, CallDelegate {
  var exchange: Exchange { get }
  var shard: Shard { get }
  var caller: Caller { get }
  var timeout: GRPCTimeout? { get }
  var call: Call? { get set }
}

extension KeyHandler {
  /// Starts a call, which the handler hears of.
  ///
  /// - Parameter message: made with ``keyCallMessage(capacity:)``.
  func start(_ method: CallMethod, _ message: consuming ByteBuffer) {
    let message = CallMessage(takingOwnershipOf: message.release())
    let call = Call(method, message: message, timeout: timeout, delegate: self)
    self.call = call
    shard.bridge.start(call, for: caller)
  }

  func clientIsGone() {
    if let call { shard.bridge.cancel(call) }
  }

  /// Answers with the error that a call ended with.
  func respond(with status: GRPCStatus) {
    exchange.respond(.keyError(status, hadCredentials: caller.isSomebody))
  }
}

extension HTTPResponse {
  /// The answer to a request for `/keys` the call of which ended with an error. Some that etcd counts among arguments
  /// that make no sense have a status of their own in HTTP.
  static func keyError(_ status: GRPCStatus, hadCredentials: Bool) -> HTTPResponse {
    guard status.origin == .server else { return .error(status, hadCredentials: hadCredentials) }
    return switch (status.code, status.message) {
    case (_, EtcdMessage.compacted): .error(410, status.code, status.message)
    // gRPC itself at etcd, which takes somewhat more than etcd does.
    case (.resourceExhausted, _) where status.message.hasPrefix("grpc: "): .error(413, status.code, status.message)
    default: .error(status, hadCredentials: hadCredentials)
    }
  }
}
