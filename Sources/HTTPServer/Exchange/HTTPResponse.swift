package import ByteBuffers

/// An answer that is whole before it is sent.
package struct HTTPResponse: ~Copyable {
  package typealias Headers = [(name: StaticString, value: String)]

  package var status: UInt32
  /// What the body is; nil if there is none by the status's meaning.
  package var contentType: StaticString? = "application/json"
  package var headers: Headers = []
  package var body: ByteBuffer
  /// Of an error, the service's own number of it.
  package var errorCode: Int?
  /// Whether it is sent even if the memory for clients is used up, as it tells of what has been done.
  package var isOwed = false
  /// Whether clients that take gzip have the body in that coding: ``Gzip`` says of which bodies that is no harm.
  package var mayBePacked = false

  package init(status: UInt32, body: consuming ByteBuffer) {
    self.status = status
    self.body = body
  }

  package init(status: UInt32, contentType: StaticString = "application/json", text: String) {
    // With room for the line feed of JSON.
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
