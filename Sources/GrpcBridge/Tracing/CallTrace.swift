/// The trace that the calls of a request belong to, and what they have cost at etcd. Belongs to the loop of the calls.
package final class CallTrace {
  /// The trace; nil if there is none.
  package let context: TraceContext?
  /// The span of the request, which those of its calls are parts of; nil if none are recorded.
  package let span: UInt64?
  private let recorder: (any CallRecorder)?
  /// How long members have had its calls, in nanoseconds, one after the other.
  package private(set) var time: UInt64 = 0
  /// The member that had the last one.
  package private(set) var endpoint: Endpoint?

  /// Of a trace that is not recorded here.
  package init(_ context: TraceContext? = nil) {
    self.context = context
    span = nil
    recorder = nil
  }

  /// Of a trace that is recorded.
  ///
  /// - Parameter span: that of the request.
  package init(_ context: TraceContext, span: UInt64, recorder: any CallRecorder) {
    self.context = context
    self.span = span
    self.recorder = recorder
  }

  /// The `traceparent` that tells the client where the request belongs; nil if it belongs to no trace.
  package var parent: String? { context?.parent(span) }

  /// Whether the client wants to see its own calls at etcd in its trace.
  var isOfRecordingClient: Bool { context.map { $0.isOfClient && $0.isSampled } ?? false }

  /// Takes notice that `call` goes to a member, and gives it a span if it is recorded.
  func sends(_ call: Call) { call.span = recorder?.nextSpan() }

  /// Takes notice that `call` has ended at a member that has had it since `start`.
  func ended(_ call: Call, _ code: GRPCCode, since start: UInt64, for time: UInt64, at endpoint: Endpoint) {
    add(time, at: endpoint)
    guard let span = call.span else { return }
    call.span = nil
    record(CallEnd(call.method, code, start: start, time: time, endpoint: endpoint, reads: 0), span)
  }

  /// Takes notice of the end of a call in which a read travelled with others: of the trace is only that it was so.
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
  /// The ID of a span that begins; never 0.
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

/// How a call has ended at a member.
package struct CallEnd: Sendable {
  package let method: CallMethod
  package let code: GRPCCode
  /// When it was sent, by `preciseTime`, and how long it took, in nanoseconds.
  package let start: UInt64
  package let time: UInt64
  package let endpoint: Endpoint
  /// How many reads of clients travelled in it; 0 if it is a client's own.
  package let reads: Int

  package init(_ method: CallMethod, _ code: GRPCCode, start: UInt64, time: UInt64, endpoint: Endpoint, reads: Int) {
    self.method = method
    self.code = code
    self.start = start
    self.time = time
    self.endpoint = endpoint
    self.reads = reads
  }
}
