import GrpcBridge
import ProtobufWire

/// An error for a client of whose request there is no telling: there is none, or not all of its head.
struct BareAnswer: ~Copyable {
  /// The whole answer, which ends the connection.
  let bytes: ByteBuffer
  let bodyCount: Int

  /// - Parameter headers: further header lines.
  init(_ status: UInt32, _ code: GRPCCode, _ message: String, headers: String = "") {
    var body = ByteBuffer()
    body.appendError(code, message)
    var bytes = ByteBuffer()
    bytes.append(
      """
      HTTP/1.1 \(status) \(reasonPhrase(status))\r
      Date: \(httpDate())\r
      Connection: close\r
      Content-Type: application/json\r
      X-Content-Type-Options: nosniff\r
      \(headers)Content-Length: \(body.count)\r
      \r

      """.utf8)
    body.withUnsafeBytes { bytes.append($0) }
    self.bytes = bytes
    bodyCount = body.count
  }

  consuming func release() -> ByteBuffer { bytes }
}
