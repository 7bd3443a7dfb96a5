import EventLoop

/// What is known of a request when it ends: filled in as it goes on, and read by ``HTTPService/ended(_:isCut:)``.
package struct RequestRecord {
  /// When its head had come, by `preciseTime`.
  package let start = preciseTime
  /// The service's number of its route; 0 for none.
  package var route = 0
  /// Whether its route has its method.
  package var isMethodOfRoute = true
  /// The status of its answer; 0 if there was none.
  package var status: UInt32 = 0
  /// The service's number of the error in its answer, if that is one.
  package var errorCode: Int?
  /// How the messages of its stream travel, if the answer begins one.
  package var transport: StreamTransport?
  /// How many bytes of the answer's body were handed out.
  package var bytesSent = 0
}

/// How the messages of a stream travel.
package enum StreamTransport: Int, CaseIterable, Sendable {
  case http
  case websocket
}
