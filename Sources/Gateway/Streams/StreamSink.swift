import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire

/// The transport of a stream's answers: the body of an HTTP response, a line of JSON each, or a WebSocket, a text
/// message each. Belongs to its shard's loop.
protocol StreamSink: AnyObject {
  /// The ID of the stream's request in logs.
  var requestID: String { get }
  /// How many bytes wait for the client to take them.
  var backlog: Int { get }
  /// Whether requests are taken now. A session that owes more answers than it wants to keep track of sets this to
  /// false. Meanwhile, and while more than `--stream-backlog` waits for the client, the requests of a received text
  /// stay in the text, and further ones with the client's system. Setting it to true may call `receive` at once.
  var takesRequests: Bool { get set }

  /// Queues one message: `{"result":…}`, or the answer to a unary call over a WebSocket.
  func send(_ frame: StreamFrame)
  /// Ends the stream successfully, after what is queued. Nothing more may be sent.
  func finish()
  /// Ends the stream with an error, after what is queued. Before the first frame of an HTTP response the error decides
  /// the HTTP status; later it is a frame of its own. Nothing more may be sent.
  func fail(_ status: GRPCStatus)
}

/// The content of one client's stream. It is notified about the client, and answers through its sink. After it has
/// called `finish` or `fail` it is no longer notified.
protocol StreamSource: AnyObject {
  /// The sink's backlog has become empty.
  func sinkHasRoom()
  /// The stream is over for a reason of the client's or of the gateway's: calls under way at etcd end. Nothing more may
  /// be sent.
  func cancel()
  /// The heartbeat for a client over plain HTTP that wants one. Nil if that would be too early.
  func heartbeat() -> StreamFrame?
  /// The answer to a request over plain HTTP that fails before its stream's first message.
  ///
  /// - Parameter hadCredentials: whether the request came with credentials, of whatever kind.
  func refusal(_ status: GRPCStatus, hadCredentials: Bool) -> HTTPResponse
  /// The end of a stream over plain HTTP that fails after its first message.
  ///
  /// - Parameter hadCredentials: whether the request came with credentials, of whatever kind.
  func ending(_ status: GRPCStatus, hadCredentials: Bool) -> StreamFrame
}

extension StreamSource {
  func heartbeat() -> StreamFrame? { .heartbeat }
  func refusal(_ status: GRPCStatus, hadCredentials: Bool) -> HTTPResponse {
    .error(status, hadCredentials: hadCredentials)
  }
  func ending(_ status: GRPCStatus, hadCredentials: Bool) -> StreamFrame {
    .error(status, hadCredentials: hadCredentials)
  }
}

/// A stream with requests from its client, made when the first of them is known to be valid.
protocol StreamSession: StreamSource {
  /// A request of the client's, encoded as protobuf after `CallMessage.headroom` bytes of room.
  func receive(_ message: consuming ByteBuffer)
  /// The client will send no more requests: the body of an HTTP request has ended. A WebSocket has no such end.
  func receiveEnd()
}
