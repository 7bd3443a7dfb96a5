/// What an ``HTTPServer`` serves: routes requests, decides who may send bodies, writes errors, and counts. Belongs to
/// the server's loop.
package protocol HTTPService: AnyObject {
  /// What answers a request whose head has come.
  func handler(for exchange: Exchange) -> any RequestHandler

  /// What has to be found out about a client before its request goes on; nil if there is nothing.
  ///
  /// - Throws: ``RequestError`` if the request is refused at once.
  func gate(
    for exchange: Exchange, handledBy handler: any RequestHandler
  ) throws(RequestError) -> (any RequestGate)?

  /// The answer to a request that is refused, in the form that all errors of the service have.
  func response(to error: RequestError) -> HTTPResponse

  /// A request is over, and its answer with the system, or with what has taken the connection over.
  ///
  /// - Parameter isCut: whether the answer broke off.
  func ended(_ exchange: Exchange, isCut: Bool)
}

/// Finds out whether a request may go on, while its connection is suspended. It answers the request itself
/// (``Exchange/respond(_:)``), or lets it go on (``Exchange/leaveGate()``).
package protocol RequestGate: AnyObject {
  /// Begins to find out.
  func ask()
  /// The client has left: nothing more is to be said.
  func cancel()
}
