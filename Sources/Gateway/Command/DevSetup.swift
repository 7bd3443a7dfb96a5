import EtcdSchema
import EventLoop
import FoundationEssentials
import GrpcBridge
import Logging
import SwiftProtobuf

/// Waits for a new etcd to serve and turns its authentication on.
struct DevSetup {
  private static let patience: UInt64 = 30_000

  let endpoint: Endpoint
  let logger: Logger

  /// - Returns: etcd's version; empty where it does not tell.
  /// - Throws: `EtcdChild.Failure` where etcd does not come up, or has another root password already.
  func run(rootPassword: String?, child: EtcdChild) throws -> String {
    let calls = try SerialCalls(endpoint: endpoint, patience: Self.patience, logger: logger) { child.ended }
    defer { calls.close() }
    let range = Etcdserverpb_RangeRequest.with { $0.key = Data("health".utf8) }
    let status = try calls.call("etcdserverpb.KV/Range", range)
    _ = try calls.call("etcdserverpb.Maintenance/Status", Etcdserverpb_StatusRequest())
    let version = try Etcdserverpb_StatusResponse(serializedBytes: calls.response).version
    guard let password = rootPassword else { return version }
    if status.message == EtcdMessage.userEmpty {
      try checkPassword(password, calls)
      return version
    }
    for (method, request) in steps(password) {
      let status = try calls.call(method, request)
      // Data that were kept may have some of it already.
      guard status.isOK || status.message.hasSuffix("already exists") else {
        throw EtcdChild.Failure(description: "authentication was not enabled: \(method): \(status.message)")
      }
    }
    return version
  }

  private func steps(_ password: String) -> [(String, any Message)] {
    [
      (
        "etcdserverpb.Auth/UserAdd",
        Etcdserverpb_AuthUserAddRequest.with {
          $0.name = "root"
          $0.password = password
        }
      ),
      ("etcdserverpb.Auth/RoleAdd", Etcdserverpb_AuthRoleAddRequest.with { $0.name = "root" }),
      (
        "etcdserverpb.Auth/UserGrantRole",
        Etcdserverpb_AuthUserGrantRoleRequest.with {
          $0.user = "root"
          $0.role = "root"
        }
      ),
      ("etcdserverpb.Auth/AuthEnable", Etcdserverpb_AuthEnableRequest()),
    ]
  }

  private func checkPassword(_ password: String, _ calls: SerialCalls) throws {
    let login = Etcdserverpb_AuthenticateRequest.with {
      $0.name = "root"
      $0.password = password
    }
    guard try calls.call("etcdserverpb.Auth/Authenticate", login).isOK else {
      throw EtcdChild.Failure(description: "the data have authentication on, with another root password")
    }
  }
}

/// Calls one after the other, on the calling thread: for the set-up of an etcd that is not served yet.
private final class SerialCalls: CallDelegate {
  private let loop: EventLoop
  private let channel: Channel
  private let trouble: () -> EtcdChild.Failure?
  private var status: GrpcStatus?
  private(set) var response: [UInt8] = []

  /// - Parameter trouble: why there is no use in waiting any longer.
  init(endpoint: Endpoint, patience: UInt64, logger: Logger, trouble: @escaping () -> EtcdChild.Failure?) throws {
    var logger = logger
    // That etcd is not there at once is to be expected.
    logger.logLevel = max(logger.logLevel, .error)
    loop = try EventLoop()
    self.trouble = trouble
    channel = Channel(
      loop: loop, endpoints: [endpoint], configuration: Channel.Configuration(dialTimeout: patience),
      logger: logger)
    loop.beforeWaiting { [unowned channel] in channel.flush() }
  }

  func call(_ method: String, _ request: some Message) throws -> GrpcStatus {
    status = nil
    response = []
    let message: [UInt8] = try request.serializedBytes()
    let call = Call(
      CallMethod(path: "/" + method, isRepeatable: false), message: CallMessage(copying: message),
      timeout: GrpcTimeout(milliseconds: 30_000), delegate: self)
    var failure: EtcdChild.Failure?
    let watch = LoopTimer(loop: loop) { [unowned self] in
      failure = trouble()
      if failure != nil { loop.stop() }
    }
    watch.start(after: 50, every: 50)
    channel.send(call)
    loop.run()
    watch.stop()
    if let failure { throw failure }
    guard let status, status.code != .unavailable else {
      throw EtcdChild.Failure(description: "etcd does not serve: \(status?.message ?? "no answer")")
    }
    return status
  }

  func close() { channel.close() }

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { response.append(contentsOf: bytes) }
  func call(_ call: Call, endedWith status: GrpcStatus) {
    self.status = status
    loop.stop()
  }
  func credentials(for call: Call) -> BasicCredentials { BasicCredentials(user: "", password: "") }
  func peer(of call: Call) -> String { "" }
}
