import ByteBuffers

/// An error for a client whose request is unknown: there is none, or its head is incomplete.
struct BareAnswer: ~Copyable {
  /// The whole answer, which ends the connection.
  let bytes: ByteBuffer
  let bodyCount: Int
  let status: UInt32
  let errorCode: Int?

  /// - Parameters:
  ///   - response: its status, type and body are sent, and its header that says when to try again.
  ///   - headers: further header lines.
  init(_ response: consuming HTTPResponse, headers: String = "") {
    var lines = headers
    for header in response.headers { lines += "\(header.name): \(header.value)\r\n" }
    var bytes = closingHead(
      response.status,
      lines: """
        Content-Type: \(response.contentType ?? MediaType.json.name)\r
        X-Content-Type-Options: nosniff\r
        \(lines)Content-Length: \(response.body.count)\r

        """)
    response.body.withUnsafeBytes { bytes.append($0) }
    self.bytes = bytes
    bodyCount = response.body.count
    status = response.status
    errorCode = response.errorCode
  }

  consuming func release() -> ByteBuffer { bytes }
}
