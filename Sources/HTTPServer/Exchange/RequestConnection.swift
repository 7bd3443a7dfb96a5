package import EventLoop

/// The connection by which a request has come, for the request's ``Exchange``: libmicrohttpd's connection to a client
/// (``ClientConnection``), or a test's. Belongs to the loop of its server.
///
/// It passes on the request as it comes (``Exchange/begin()``, ``Exchange/receive(_:)``, ``Exchange/proceed()``), and
/// continues with that after ``resume()``. When one of these methods returns, the request may have its answer.
package protocol RequestConnection: AnyObject {
  /// The client's address; nil over a Unix socket.
  var address: IPAddress? { get }
  /// Whether the connection's peer is known.
  var isPeerKnown: Bool { get }
  /// Whether the connection came in on a listener that serves only metrics and probes (`--admin-listen`).
  var isAdmin: Bool { get }
  /// Whether the client uses TLS.
  var hasTLS: Bool { get }
  /// Whether the connection was cut, or ends after an answer that says why: what still comes is no request.
  var hasParted: Bool { get }
  /// Whether the connection has, or will have, another owner.
  var isTakenOver: Bool { get }

  /// The request under way; nil if there is none. The exchange removes itself before it is released.
  var exchange: Exchange? { get set }

  /// Passes the fields of the request on to ``RequestHead/take(_:_:)``.
  func readFields(into head: inout RequestHead)
  /// The fields of the request, as they were sent.
  var fields: [(name: HeadBytes, value: HeadBytes)] { get }

  /// Passes nothing on, and sends nothing, until ``resume()``, as long as the request has no answer.
  func suspendRequest()
  /// The same while nothing can be read of a streamed answer.
  func suspendAnswer()
  /// Continues soon.
  func resume()
  /// The client makes progress, or is not to blame for the lack of it.
  func hasMadeProgress()

  /// Sends the answer to the request under way.
  ///
  /// - Returns: false if the connection is to be closed instead.
  func send(_ answer: consuming Answer) -> Bool
  /// Sends bytes while nothing else is being sent.
  ///
  /// - Returns: how many bytes were sent; negative if none could be.
  func sendAtOnce(_ bytes: UnsafeRawBufferPointer) -> Int
  /// The answer will be incomplete: even a client that knows no chunks must notice.
  func breakOff()
  /// Prepares the takeover of the connection, which is completed when the connection has been given up.
  ///
  /// - Returns: false if that is impossible for now.
  func beTakenOver(by successor: TakenOverConnection) -> Bool
  /// Ends the connection at once, without an answer, or without the rest of it.
  func cut()
  /// The request has ended.
  ///
  /// - Parameter isAnswered: whether its answer was completely sent.
  func hasEnded(isAnswered: Bool)
}

/// The parts of a request line, and the whole head that begins with it.
package struct RequestLine {
  let method: HeadBytes
  let target: HeadBytes
  let version: HeadBytes
  let head: HeadBytes
  /// How the lines after it end; nil if that was checked by libmicrohttpd.
  let lineEnds: LineEnds?

  package init(
    method: HeadBytes, target: HeadBytes, version: HeadBytes, head: HeadBytes, lineEnds: LineEnds? = nil
  ) {
    self.method = method
    self.target = target
    self.version = version
    self.head = head
    self.lineEnds = lineEnds
  }
}
