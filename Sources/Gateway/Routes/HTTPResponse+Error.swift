import ByteBuffers
import GrpcBridge
import HTTPServer
import Transcoding

extension HTTPResponse {
  /// An error: ``Transcoding/ByteBuffer/appendError(_:_:more:)``.
  static func error(
    _ status: UInt32, _ code: GRPCCode, _ message: String, headers: Headers = [],
    more: (inout ByteBuffer) -> Void = { _ in }
  ) -> HTTPResponse {
    var response = HTTPResponse(status: status, body: ByteBuffer(capacity: 64 + message.utf8.count * 2))
    response.body.appendError(code, message, more: more)
    response.errorCode = code.rawValue
    response.headers = headers
    return response
  }

  static func error(_ error: RequestError) -> HTTPResponse {
    .error(error.status, error.grpcCode, error.message, headers: error.headers)
  }

  /// The answer if there is no memory for the answer of a call that etcd has executed: changes must not be made again.
  static func shortage(after method: CallMethod) -> HTTPResponse {
    guard !method.changesNothing else { return .error(.shortage) }
    return .error(
      500, .internal,
      "the call was executed; its answer does not fit into the gateway's memory budget (--max-memory)")
  }
}

extension ByteBuffer {
  /// The form of every error: the message twice, as 3.4/3.5-era clients of etcd's gateway read `error` and later ones
  /// `message`, and the gRPC code.
  ///
  /// - Parameter more: appends further members, each after a comma.
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
