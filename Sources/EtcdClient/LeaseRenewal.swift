internal import EtcdSchema
internal import EventLoop
internal import GrpcBridge
internal import SwiftProtobuf

/// Keeps one lease alive for a client, on the client's thread: renews it when a third of its time has passed, as
/// clientv3 does.
final class LeaseRenewal: ClientOperation {
  private unowned let core: ClientLoop
  private let cancellationToken: CancellationToken
  private let lease: LeaseID
  /// How long, in milliseconds, the first answer may take; later ones may take as long as the lease lives.
  private let patience: UInt64
  /// Whether only the first answer is wanted.
  private let isOnce: Bool
  private let buffer: StreamBuffer<LeaseKeepAlive>
  private var asked: KeepAliveRequest?
  private lazy var timer = LoopTimer(loop: core.loop) { [unowned self] in ask() }
  /// By when the answer has to come; the lease may have ended by then.
  private var deadline: UInt64 = 0
  /// How long, in milliseconds, to wait before the next request if etcd could not be reached.
  private static let pause: UInt64 = 500
  /// Whether etcd has ever answered.
  private var isProven = false

  init(
    _ lease: LeaseID, patience: UInt64, isOnce: Bool, core: ClientLoop, cancellationToken: CancellationToken,
    buffer: StreamBuffer<LeaseKeepAlive>
  ) {
    self.lease = lease
    self.patience = patience
    self.isOnce = isOnce
    self.core = core
    self.cancellationToken = cancellationToken
    self.buffer = buffer
  }

  func start() {
    let (sum, overflows) = core.loop.now.addingReportingOverflow(patience)
    deadline = overflows ? .max : sum
    ask()
  }

  private func ask() {
    let timeout = deadline - min(core.loop.now, deadline)
    asked = core.bridge.leases.keepAlive(
      lease.rawValue, for: core.caller, timeout: timeout
    ) { [unowned self] in hear($0) }
  }

  private func hear(_ result: Result<[UInt8], GRPCStatus>) {
    asked = nil
    do {
      let response: Etcdserverpb_LeaseKeepAliveResponse = try decode(result.get())
      // For an unknown lease, etcd answers 0, too.
      guard response.ttl > 0 else { return end(nil) }
      _ = buffer.add(LeaseKeepAlive(response))
      guard !isOnce else { return end(nil) }
      isProven = true
      // etcd's longest is some 285 years; longer times count as that.
      let life = UInt64(min(response.ttl, 9_000_000_000)) * 1000
      deadline = core.loop.now + life
      timer.start(after: life / 3)
    } catch let status as GRPCStatus
      where status.code == .unavailable && (isProven || !status.isLoss) && !core.isClosed
      && core.loop.now + Self.pause < deadline
    {
      timer.start(after: Self.pause)
    } catch let status as GRPCStatus {
      end(core.error(status))
    } catch {
      end(error)
    }
  }

  func cancel() { end(CancellationError()) }

  func close(_ error: EtcdError) { end(error) }

  private func end(_ error: (any Error)?) {
    asked?.cancel()
    timer.stop()
    core.ended(cancellationToken)
    buffer.finish(error)
  }
}
