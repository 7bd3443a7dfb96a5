import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire

/// Where the answers of a stream go: the body of an HTTP response, a line of JSON each, or a WebSocket, a text message
/// each. Belongs to its shard's loop.
protocol StreamSink: AnyObject {
  /// What the request for the stream is known by in logs.
  var requestID: String { get }
  /// How many bytes wait for the client to take them.
  var backlog: Int { get }
  /// Whether requests are wanted now: a session that owes more answers than it wants to keep track of sets this to
  /// false. While it is, and while more than `--stream-backlog` waits for the client, the requests of a text that has
  /// come stay in it, and what would come behind it with the client's system. To set it to true may call `receive` at
  /// once.
  var takesRequests: Bool { get set }

  /// Queues one message: `{"result":…}`, or over a WebSocket also the answer to a unary call.
  func send(_ frame: StreamFrame)
  /// Ends the stream as a success, after what is queued. Nothing more may be sent.
  func finish()
  /// Ends the stream with an error, after what is queued. Before the first frame of an HTTP response it decides the
  /// HTTP status; later it is a frame of its own. Nothing more may be sent.
  func fail(_ status: GRPCStatus)
}

/// What one client's stream is about. It hears of the client, and answers through its sink. After it has called
/// `finish` or `fail` it hears nothing more.
protocol StreamSource: AnyObject {
  /// The sink's backlog has fallen to nothing.
  func sinkHasRoom()
  /// The stream is over for a reason of the client's or of the gateway's: whatever is under way at etcd ends. Nothing
  /// more may be sent.
  func cancel()
  /// What a client over plain HTTP that wants a heartbeat is sent while there is nothing else. Nil if that would
  /// be too early.
  func heartbeat() -> StreamFrame?
  /// What a request over plain HTTP is answered that fails before its stream's first message.
  ///
  /// - Parameter hadCredentials: whether the request came with credentials, of whatever kind.
  func refusal(_ status: GRPCStatus, hadCredentials: Bool) -> HTTPResponse
  /// How a stream over plain HTTP ends that fails after its first message.
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

/// A stream with requests of its client's, made when the first of them is known to be good.
protocol StreamSession: StreamSource {
  /// A request message of the client's, encoded as protobuf behind `CallMessage.headroom` bytes of room.
  func receive(_ message: consuming ByteBuffer)
  /// The client will send no more requests: the end of an HTTP request's body. A WebSocket has no such end.
  func receiveEnd()
}
