internal import EtcdSchema
package import EventLoop
package import Logging
internal import SwiftProtobuf

/// Asks the cluster for its members from time to time and reports changes, as clientv3's `AutoSyncInterval` does. It
/// leaves out learners, and members that have not started yet. Belongs to one loop.
package final class EndpointSync {
  /// How many endpoints the members may have. Each costs every shard connections, timers and a look in every turn; a
  /// cluster has three to seven members, with one or two client URLs each. A server in the place of a member could name
  /// thousands, until the descriptors are used up.
  static let maxEndpoints = 64

  private static let method = EtcdRPC.memberList.method
  private static let request = Etcdserverpb_MemberListRequest.with { $0.linearizable = true }.encodedSmall()

  private let loop: EventLoop
  private unowned let bridge: Bridge
  private let interval: UInt64
  /// The caller of the question; if authentication is on, etcd from 3.5.28 on lists its members to some users only.
  package var caller: Caller
  private let logger: Logger
  private let report: ([Endpoint]) -> Void
  private var call: Call?
  private var answer: [UInt8] = []
  private var known: [Endpoint] = []
  /// The last failure, so that it is not reported again.
  private var trouble = ""
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in ask() }

  /// Asks for the first time at once.
  ///
  /// - Parameters:
  ///   - interval: how often to ask, in milliseconds.
  ///   - caller: the caller of the question.
  ///   - report: called on the loop with the members' endpoints, whenever these have changed.
  package init(
    bridge: Bridge, loop: EventLoop, interval: UInt64, caller: Caller, logger: Logger,
    report: @escaping ([Endpoint]) -> Void
  ) {
    self.bridge = bridge
    self.loop = loop
    self.interval = interval
    self.caller = caller
    self.logger = logger
    self.report = report
    timer.start(after: 0, every: interval)
  }

  /// Stops asking.
  package func stop() {
    timer.stop()
    if let call { bridge.cancel(call) }
    call = nil
  }

  private func ask() {
    // If an answer takes longer than the interval, no second question is sent.
    guard call == nil else { return }
    answer = []
    let call = Call(
      Self.method, message: CallMessage(copying: Self.request), timeout: GRPCTimeout(milliseconds: 30_000),
      delegate: self)
    call.maxBytes = 1 << 20
    self.call = call
    bridge.start(call, for: caller)
  }

  private func take(_ response: Etcdserverpb_MemberListResponse) throws {
    var distinct: Set<Endpoint> = []
    for member in response.members where !member.name.isEmpty && !member.isLearner {
      for url in member.clientUrls {
        distinct.insert(try Endpoint(url))
        guard distinct.count <= Self.maxEndpoints else { throw TooManyEndpoints() }
      }
    }
    // The order is etcd's and means nothing.
    let endpoints = distinct.sorted { $0.description < $1.description }
    guard !endpoints.isEmpty, endpoints != known else { return }
    known = endpoints
    logger.info(
      "the members of the cluster", metadata: ["endpoints": "\(endpoints.map(\.description).joined(separator: ","))"])
    report(endpoints)
  }

  private struct TooManyEndpoints: Error, CustomStringConvertible {
    let description = "the members have more than \(EndpointSync.maxEndpoints) endpoints"
  }

  private func fail(_ reason: String) {
    logger.log(
      level: reason == trouble ? .debug : .warning, "cannot list the cluster's members; the endpoints stay as they are",
      metadata: ["reason": "\(reason)"])
    trouble = reason
  }
}

extension EndpointSync: CallDelegate {
  package func call(_ call: Call, willReceive length: Int) {}
  package func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { answer += bytes }

  package func call(_ call: Call, endedWith status: GRPCStatus) {
    self.call = nil
    guard status.isOK else { return fail(status.message) }
    do {
      try take(Etcdserverpb_MemberListResponse(serializedBytes: answer))
      trouble = ""
    } catch {
      fail("\(error)")
    }
  }
}
