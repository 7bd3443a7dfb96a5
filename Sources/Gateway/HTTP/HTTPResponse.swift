import GrpcBridge
import ProtobufWire
import Transcoding

/// An answer that is whole before it is sent.
struct HTTPResponse: ~Copyable {
  typealias Headers = [(name: StaticString, value: String)]

  var status: UInt32
  /// What the body is; nil where there is none by the status's meaning.
  var contentType: StaticString? = "application/json"
  var headers: Headers = []
  var body: ByteBuffer
  /// Of an error, the code that is in it.
  private(set) var code: GRPCCode?
  /// Whether it is sent even if the memory for clients is used up, as it tells of what has been done.
  var isOwed = false

  init(status: UInt32, body: consuming ByteBuffer) {
    self.status = status
    self.body = body
  }

  init(status: UInt32, contentType: StaticString = "application/json", text: String) {
    // With room for the line feed of JSON.
    body = ByteBuffer(capacity: text.utf8.count + 1)
    body.append(text.utf8)
    self.status = status
    self.contentType = contentType
  }

  /// An answer without a body, such as 204 and 304 (RFC 9110, section 6.4.1).
  static func empty(_ status: UInt32, headers: Headers) -> HTTPResponse {
    var response = HTTPResponse(status: status, body: ByteBuffer())
    response.contentType = nil
    response.headers = headers
    return response
  }

  /// An error: ``Transcoding/ByteBuffer/appendError(_:_:more:)``.
  static func error(
    _ status: UInt32, _ code: GRPCCode, _ message: String, headers: Headers = [],
    more: (inout ByteBuffer) -> Void = { _ in }
  ) -> HTTPResponse {
    var response = HTTPResponse(status: status, body: ByteBuffer(capacity: 64 + message.utf8.count * 2))
    response.body.appendError(code, message, more: more)
    response.code = code
    response.headers = headers
    return response
  }

  /// What is answered to a request that would take more memory than there is for clients.
  static var shortage: HTTPResponse {
    .error(503, .resourceExhausted, "\(MemoryAccount.shortage)", headers: [("Retry-After", "1")])
  }

  /// The same, of a request that etcd has had: what has been done is not to be done again.
  static func shortage(after method: CallMethod) -> HTTPResponse {
    guard !method.changesNothing else { return .shortage }
    return .error(
      500, .internal,
      "the call was executed; its answer does not fit into what the gateway may keep for its clients (--max-memory)")
  }
}

extension ByteBuffer {
  /// The one shape of every error: the message twice, as 3.4/3.5-era clients of etcd's gateway read `error` and later
  /// ones `message`, and the gRPC code.
  ///
  /// - Parameter more: appends further members, each behind a comma.
  mutating func appendError(_ code: GRPCCode, _ message: String, more: (inout ByteBuffer) -> Void = { _ in }) {
    append("{\"error\":")
    appendJSONString(message)
    append(",\"message\":")
    appendJSONString(message)
    append(",\"code\":\(code.rawValue)".utf8)
    more(&self)
    append("}")
  }
}
