package import ByteBuffers

/// Answers that begin before the request is complete, or before the answer is. libmicrohttpd cannot send these.
extension Exchange {
  // MARK: - An answer before the request is complete

  /// Takes the connection over to answer, and closes it once the client has had time to read the answer.
  func respondEarly(_ answer: consuming HTTPResponse) {
    let status = answer.status
    willSend(answer.body.count, answer.errorCode)
    let head = SocketBytes(
      answerHead(
        status, answer.contentType, headers: answer.headers, framing: "Content-Length: \(answer.body.count)\r\n"))
    let body = SocketBytes(answer.body)
    let socket = takeOver(answering: status, delegate: nil)
    socket.send(head.bytes, of: head)
    if self.head.method != .head { socket.send(body.bytes, of: body) }
    socket.finish()
  }

  // MARK: - Progress reports

  /// Sends a line of the answer while the request is still coming, or being executed, to report progress. The first
  /// line is preceded by the head of the answer, with status 200.
  ///
  /// libmicrohttpd reads and has nothing to send meanwhile, so the line is written to the socket directly. It is left
  /// out if the client has not taken an earlier one yet, or does not know chunks (HTTP/1.0). ``respond(_:)`` ends the
  /// answer with one more line.
  package func sendEarly(_ line: consuming ByteBuffer, contentType: StaticString) {
    guard mayBeginEarly, !head.isHTTP10 else { return }
    if early == nil {
      early = ByteQueue()
      record.status = 200
      streamHead(contentType).withUnsafeBytes { early?.append($0) }
    } else {
      flushEarly()
      guard early?.isEmpty == true else { return }
    }
    appendEarly(line)
    flushEarly()
  }

  /// Ends the answer. If it is an error, the body ends without its last chunk, because the answer began with status
  /// 200.
  func endEarly(_ answer: consuming HTTPResponse) {
    let isGood = answer.errorCode == nil
    if Self.endsLine(answer.contentType) { answer.body.append(Self.lineFeed) }
    record.errorCode = answer.errorCode
    appendEarly(answer.body)
    var rest = ByteBuffer()
    early?.withUnsafeBytes { rest.append($0) }
    if isGood {
      SocketBytes.lastChunk.buffer.withUnsafeBytes { rest.append($0) }
    } else {
      connection.breakOff()
    }
    let bytes = SocketBytes(rest)
    let socket = takeOver(answering: 200, delegate: nil)
    socket.send(bytes.bytes, of: bytes)
    socket.finish()
  }

  /// Appends a chunk (RFC 9112, section 7.1).
  private func appendEarly(_ chunk: borrowing ByteBuffer) {
    record.bytesSent += chunk.count
    var bytes = ByteBuffer(capacity: chunk.count + 16)
    bytes.append("\(String(chunk.count, radix: 16))\r\n".utf8)
    chunk.withUnsafeBytes { bytes.append($0) }
    bytes.append("\r\n")
    bytes.withUnsafeBytes { early?.append($0) }
  }

  private func flushEarly() {
    guard let waiting = early, !waiting.isEmpty else { return }
    let count = waiting.withUnsafeBytes { connection.sendAtOnce($0) }
    // A broken connection is noticed by its reader.
    if count > 0 { early?.drop(count) }
  }
}
