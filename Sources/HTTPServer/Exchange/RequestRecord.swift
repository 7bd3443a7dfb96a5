import EventLoop

/// What is known of a request when it is over: kept while it goes on by what learns it, and read by
/// ``HTTPService/ended(_:isCut:)``.
package struct RequestRecord {
  /// When its head had come, by `preciseTime`.
  package let start = preciseTime
  /// The service's number of its route; 0 for none.
  package var route = 0
  /// Whether its route takes its method.
  package var isMethodOfRoute = true
  /// The status of its answer; 0 if there was none.
  package var status: UInt32 = 0
  /// Of an error, the service's number of it, which is in its answer.
  package var errorCode: Int?
  /// How the stream's messages travel that the answer is the beginning of.
  package var transport: StreamTransport?
  /// How much of the answer's body was handed out, in bytes.
  package var bytesSent = 0
}

/// How the messages of a stream travel.
package enum StreamTransport: Int, CaseIterable, Sendable {
  case http
  case websocket
}
