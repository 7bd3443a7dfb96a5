import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

extension StreamFrame {
  /// The last message of a stream that ends with an error after its first message. It has all members that the gateways
  /// in the various versions of etcd have used.
  ///
  /// - Parameter hadCredentials: whether the request came with credentials, of whatever kind.
  static func error(_ status: GRPCStatus, hadCredentials: Bool) -> StreamFrame {
    StreamFrame { $0.appendStreamError(status, hadCredentials: hadCredentials) }
  }
}

extension ByteBuffer {
  /// Appends the document of ``StreamFrame/error(_:hadCredentials:)``.
  mutating func appendStreamError(_ status: GRPCStatus, hadCredentials: Bool) {
    let (http, _) = status.httpStatus(hadCredentials: hadCredentials)
    append("{\"error\":{\"grpc_code\":\(status.code.rawValue),\"http_code\":\(http),\"message\":".utf8)
    appendJSONString(status.message)
    append(",\"http_status\":")
    appendJSONString(reasonPhrase(http))
    append(",\"code\":\(status.code.rawValue)}}".utf8)
  }
}
