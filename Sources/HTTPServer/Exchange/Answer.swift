package import ByteBuffers

/// An answer to a request, for the connection that sends it.
package struct Answer: ~Copyable {
  /// Where the bytes of a body are.
  package enum Body: ~Copyable {
    /// In memory of the answer's own.
    case own(ByteBuffer)
    /// In memory that never changes and lives as long as the server.
    case constant(UnsafeRawBufferPointer)
    /// In memory of several answers.
    case shared(SharedBody)
    /// They are read from the exchange (``Exchange/read(into:)``).
    ///
    /// - Parameter length: how many there are; nil if that is unknown.
    case streamed(length: UInt64?)
    /// There is none: the connection is another protocol's from then on (``Exchange/takeSuccessor()``).
    case upgrade
  }

  package let status: UInt32
  /// The type of the body; nil if there is none.
  package let contentType: StaticString?
  /// Its own header fields; ``Exchange/fields(of:_:_:)`` has those of all answers as well.
  package let headers: HTTPResponse.Headers
  package let body: Body

  /// Takes the body out.
  package consuming func takeBody() -> Body { body }
}
