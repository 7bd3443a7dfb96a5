package import ByteBuffers

/// The head of an answer that is not sent by libmicrohttpd, and after which the connection ends (RFC 9112, sections 4,
/// 5 and 9.6).
///
/// - Parameter lines: its further header lines, each with its line end.
func closingHead(_ status: UInt32, lines: String) -> ByteBuffer {
  var head = ByteBuffer(capacity: 256 + lines.utf8.count)
  head.append(
    """
    HTTP/1.1 \(status) \(reasonPhrase(status))\r
    Date: \(httpDate())\r
    Connection: close\r
    \(lines)\r

    """.utf8)
  return head
}

extension Exchange {
  /// The head of such an answer to this request.
  ///
  /// - Parameter framing: the header lines that say where the body ends, each with its line end; none if the body ends
  ///   with the connection.
  func answerHead(
    _ status: UInt32, _ contentType: StaticString?, headers: HTTPResponse.Headers, framing: String
  ) -> ByteBuffer {
    var lines = ""
    addCommonHeaders { lines += "\($0): \($1)\r\n" }
    for header in headers where header.name.isNot("Connection") { lines += "\(header.name): \(header.value)\r\n" }
    if let contentType { lines += "Content-Type: \(contentType)\r\n" }
    return closingHead(status, lines: lines + framing)
  }

  /// The header fields of an answer that is sent piece by piece. Proxies must pass each piece on as it comes, and
  /// neither gather them (nginx's X-Accel-Buffering) nor compress them (RFC 9111, section 5.2.2.6).
  private static let streamHeaders: HTTPResponse.Headers = [
    ("Cache-Control", "no-store, no-transform"), ("X-Accel-Buffering", "no"),
  ]

  /// The head of an answer that is sent piece by piece: its status is 200, and it is chunked if the client knows chunks
  /// (HTTP/1.1).
  package func streamHead(_ contentType: StaticString, headers: HTTPResponse.Headers = []) -> ByteBuffer {
    answerHead(
      200, contentType, headers: headers + Self.streamHeaders,
      framing: head.isHTTP10 ? "" : "Transfer-Encoding: chunked\r\n")
  }

  /// Answers `HEAD` with the header fields of such an answer.
  package func respond(headOfStream contentType: StaticString, headers: HTTPResponse.Headers = []) {
    respond(streaming: 200, contentType: contentType, headers: headers + Self.streamHeaders)
  }
}
