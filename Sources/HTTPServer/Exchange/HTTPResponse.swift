package import ByteBuffers

/// An answer that is whole before it is sent.
package struct HTTPResponse: ~Copyable {
  package typealias Headers = [(name: StaticString, value: String)]

  package var status: UInt32
  /// The type of the body; nil if the status means that there is none.
  package var contentType: StaticString? = "application/json"
  package var headers: Headers = []
  package var body: ByteBuffer
  /// The service's number of an error.
  package var errorCode: Int?
  /// Whether it is sent even if the memory for clients is used up, because it reports what has been done.
  package var isOwed = false
  /// Whether clients that accept gzip get the body compressed: ``Gzip`` says for which bodies that is safe.
  package var mayBePacked = false

  package init(status: UInt32, body: consuming ByteBuffer) {
    self.status = status
    self.body = body
  }

  package init(status: UInt32, contentType: StaticString = "application/json", text: String) {
    // With room for the line feed after JSON.
    body = ByteBuffer(capacity: text.utf8.count + 1)
    body.append(text.utf8)
    self.status = status
    self.contentType = contentType
  }

  /// An answer without a body, such as 204 and 304 (RFC 9110, section 6.4.1).
  package static func empty(_ status: UInt32, headers: Headers) -> HTTPResponse {
    var response = HTTPResponse(status: status, body: ByteBuffer())
    response.contentType = nil
    response.headers = headers
    return response
  }
}
