import EventLoop
import GrpcBridge

/// What is known of a request when it is over: kept while it goes on by whoever learns it, and read by
/// ``RequestJournal``.
struct RequestRecord {
  /// When its head had come, by `preciseTime`.
  let start = preciseTime
  /// The number of its route's template (``RouteTable/templates``).
  var route = RouteTable.noTemplate
  /// Whether its route takes its method.
  var isMethodOfRoute = true
  /// The status of its answer; 0 where there was none.
  var status: UInt32 = 0
  /// Of an error, the code that is in its answer.
  var code: GRPCCode?
  /// How the stream's messages travel that the answer is the beginning of.
  var transport: StreamRecord.Transport?
  /// How much of the answer's body was handed out, in bytes.
  var bytesSent = 0
}
