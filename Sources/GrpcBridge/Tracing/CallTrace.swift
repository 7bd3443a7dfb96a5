/// The trace of the calls of a request, and their time at etcd. Belongs to the loop of the calls.
package final class CallTrace {
  /// The trace; nil if there is none.
  package let context: TraceContext?
  /// The span of the request, the parent of its calls' spans; nil if none are recorded.
  package let span: UInt64?
  private let recorder: (any CallRecorder)?
  /// The sum of the times that members have had its calls, in nanoseconds.
  package private(set) var time: UInt64 = 0
  /// The member that had the last call.
  package private(set) var endpoint: Endpoint?

  /// Makes one of a trace that is not recorded here.
  package init(_ context: TraceContext? = nil) {
    self.context = context
    span = nil
    recorder = nil
  }

  /// Makes one of a trace that is recorded.
  ///
  /// - Parameter span: that of the request.
  package init(_ context: TraceContext, span: UInt64, recorder: any CallRecorder) {
    self.context = context
    self.span = span
    self.recorder = recorder
  }

  /// The `traceparent` that the client gets; nil if the request belongs to no trace.
  package var parent: String? { context?.parent(span) }

  /// Whether the client records its trace, and so wants to see its own calls at etcd there.
  var isOfRecordingClient: Bool { context.map { $0.isOfClient && $0.isSampled } ?? false }

  /// `call` goes to a member: gives it a span if it is recorded.
  func sends(_ call: Call) { call.span = recorder?.nextSpan() }

  /// `call` has ended at a member that has had it since `start`.
  func ended(_ call: Call, _ code: GRPCCode, since start: UInt64, for time: UInt64, at endpoint: Endpoint) {
    add(time, at: endpoint)
    guard let span = call.span else { return }
    call.span = nil
    record(CallEnd(call.method, code, start: start, time: time, endpoint: endpoint, reads: 0), span)
  }

  /// A batch with a read of this trace has ended: its time counts here, and it gets a span in this trace if that is
  /// recorded.
  func ended(_ end: CallEnd) {
    add(end.time, at: end.endpoint)
    if let span = recorder?.nextSpan() { record(end, span) }
  }

  private func add(_ time: UInt64, at endpoint: Endpoint) {
    self.time &+= time
    self.endpoint = endpoint
  }

  private func record(_ end: CallEnd, _ id: UInt64) {
    guard let recorder, let context, let span else { return }
    recorder.record(CallSpan(trace: context.trace, id: id, parent: span, call: end))
  }
}

/// Takes the spans of calls. Belongs to the loop of the calls.
package protocol CallRecorder: AnyObject {
  /// The ID for a new span; never 0.
  func nextSpan() -> UInt64
  func record(_ span: CallSpan)
}

/// A call that has ended at a member of etcd, as a span of a trace.
package struct CallSpan: Sendable {
  package let trace: TraceID
  package let id: UInt64
  package let parent: UInt64
  package let call: CallEnd
}

/// The end of a call at a member.
package struct CallEnd: Sendable {
  package let method: CallMethod
  package let code: GRPCCode
  /// When the call was sent, by `preciseTime`, and how long it took, in nanoseconds.
  package let start: UInt64
  package let time: UInt64
  package let endpoint: Endpoint
  /// How many reads of clients were batched in it; 0 if it is a client's own call.
  package let reads: Int

  init(_ method: CallMethod, _ code: GRPCCode, start: UInt64, time: UInt64, endpoint: Endpoint, reads: Int) {
    self.method = method
    self.code = code
    self.start = start
    self.time = time
    self.endpoint = endpoint
    self.reads = reads
  }
}
