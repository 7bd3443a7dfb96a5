/// The service behind an ``HTTPServer``: routes requests, decides which clients may send bodies, writes errors, and
/// counts. Belongs to the server's loop.
package protocol HTTPService: AnyObject {
  /// Makes the handler of a request whose head has come.
  func handler(for exchange: Exchange) -> any RequestHandler

  /// Makes the check of a client that a request needs before it goes on; nil if it needs none.
  ///
  /// - Throws: ``RequestError`` if the request is refused at once.
  func gate(
    for exchange: Exchange, handledBy handler: any RequestHandler
  ) throws(RequestError) -> (any RequestGate)?

  /// The answer to a request that is refused, in the form of all errors of the service.
  func response(to error: RequestError) -> HTTPResponse

  /// The challenges of a 401 answer: at least one `WWW-Authenticate` (RFC 9110, section 15.5.2).
  func challenges(to head: borrowing RequestHead) -> HTTPResponse.Headers

  /// A request has ended: its answer was given to the system, or its connection was taken over.
  ///
  /// - Parameter isCut: whether the answer broke off.
  func ended(_ exchange: Exchange, isCut: Bool)
}

/// Checks whether a request may go on, while its connection is suspended. It either answers the request itself
/// (``Exchange/respond(_:)``), or lets it go on (``Exchange/leaveGate()``).
package protocol RequestGate: AnyObject {
  /// Begins the check.
  func ask()
  /// The client has disconnected: no answer can be sent any more.
  func cancel()
}
