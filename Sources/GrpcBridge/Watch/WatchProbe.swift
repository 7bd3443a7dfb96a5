internal import EtcdSchema
internal import SwiftProtobuf

/// Finds out whether a user may read a range, with a valid token: etcd 3.4 answers a watch with *permission denied* for
/// a stale token, too.
final class WatchProbe {
  private let range: WatchRange
  private unowned let stream: WatchStream
  private let answer: (WatchProbe, GRPCStatus) -> Void
  private var call: Call?

  init(_ range: WatchRange, stream: WatchStream, answer: @escaping (WatchProbe, GRPCStatus) -> Void) {
    self.range = range
    self.stream = stream
    self.answer = answer
  }

  func start(on carrier: any WatchCarrier, for caller: Caller) {
    do throws(GRPCStatus) {
      let call = try AccessQuestion.call(about: range, timeout: AccessQuestion.timeout, delegate: self)
      self.call = call
      carrier.start(call, for: caller)
    } catch {
      answer(self, error)
    }
  }

  func cancel(on carrier: any WatchCarrier) {
    if let call { carrier.cancel(call) }
  }
}

extension WatchRange {
  init(_ spec: WatchSpec) {
    let request = try? Etcdserverpb_WatchCreateRequest(serializedBytes: spec.request)
    self.init(key: Array(request?.key ?? .init()), end: Array(request?.rangeEnd ?? .init()))
  }
}

extension WatchProbe: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}
  func call(_ call: Call, endedWith status: GRPCStatus) { answer(self, status) }
}
