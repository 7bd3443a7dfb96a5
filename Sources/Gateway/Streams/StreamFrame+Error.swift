internal import CMicrohttpd
import GrpcBridge
import Transcoding

extension StreamFrame {
  /// The last message of a stream that ends with an error after its first message: with all that the gateways inside the
  /// various versions of etcd have said.
  ///
  /// - Parameter hadCredentials: whether the request came with credentials, of whatever kind.
  static func error(_ status: GrpcStatus, hadCredentials: Bool) -> StreamFrame {
    let (http, _) = status.httpStatus(hadCredentials: hadCredentials)
    return StreamFrame { json in
      json.append("{\"error\":{\"grpc_code\":\(status.code.rawValue),\"http_code\":\(http),\"message\":".utf8)
      json.appendJSONString(status.message)
      json.append(",\"http_status\":")
      json.appendJSONString(String(cString: MHD_get_reason_phrase_for(http)))
      json.append(",\"code\":\(status.code.rawValue)}}".utf8)
    }
  }
}
