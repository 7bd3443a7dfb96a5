import GrpcBridge
import Transcoding

/// An answer that is whole before it is sent.
struct HTTPResponse: ~Copyable {
  typealias Headers = [(name: StaticString, value: String)]

  var status: UInt32
  var contentType: StaticString = "application/json"
  var headers: Headers = []
  var body: ByteBuffer

  init(status: UInt32, body: consuming ByteBuffer) {
    self.status = status
    self.body = body
  }

  init(status: UInt32, contentType: StaticString = "application/json", text: String) {
    body = ByteBuffer(capacity: text.utf8.count)
    body.append(text.utf8)
    self.status = status
    self.contentType = contentType
  }

  /// The one shape of every error: the message twice, as 3.4/3.5-era clients of etcd's gateway read `error` and later ones
  /// `message`, and the gRPC code.
  static func error(_ status: UInt32, _ code: GrpcCode, _ message: String, headers: Headers = []) -> HTTPResponse {
    var response = HTTPResponse(status: status, body: ByteBuffer(capacity: 64 + message.utf8.count * 2))
    response.body.append("{\"error\":")
    response.body.appendJSONString(message)
    response.body.append(",\"message\":")
    response.body.appendJSONString(message)
    response.body.append(",\"code\":")
    response.body.append("\(code.rawValue)}".utf8)
    response.headers = headers
    return response
  }
}
