import ByteBuffers
import EtcdSchema
import FoundationEssentials
import GrpcBridge
import HTTPServer
import ProtobufWire
import SwiftProtobuf
import Transcoding

/// The paths that report the state of etcd and of the gateway, with answers in etcd's form.
///
/// None needs a permission at etcd. Members report their versions over HTTP/1 without credentials, whatever `Status`
/// needs. A linearizable read agrees with a quorum before permissions are checked, so that a denial proves as much as
/// an answer.
enum Probe: String, CaseIterable {
  /// The versions of etcd and its cluster, by which clients choose the prefix of their paths.
  case version = "/version"
  /// Whether etcd serves linearizable reads and has no alarm, as JSON.
  case health = "/health"
  /// Whether the gateway itself is alive: if etcd is down, restarting the gateway would not help.
  case livez = "/livez"
  /// Whether etcd serves linearizable reads through this gateway.
  case readyz = "/readyz"
  /// The state of etcd's members and of the gateway, now and in the last minutes, as JSON.
  case status = "/status"
  /// The same on a page for people.
  case landing = "/"
}

/// Answers a probe by up to three calls without credentials.
final class ProbeHandler: RequestHandler, CallDelegate {
  /// How long etcd may take, in milliseconds.
  private static let timeout = GRPCTimeout(milliseconds: 5000)

  private let probe: Probe
  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private var call: Call?
  private var response: [UInt8] = []
  private var triesIdentity = false
  /// The token of the question for a member's versions.
  private var cancellationToken: Int?
  /// Whether a member with a connection was asked for its versions.
  private var hasAskedMember = false
  /// Whether etcd has answered that it requires credentials.
  private var needsUser = false
  /// A member's answer to `Status`; nil if it gave none.
  private var memberStatus: Etcdserverpb_StatusResponse?
  /// Whether this client may see the numbers of metrics, too.
  private var tellsAll = true

  init(_ probe: Probe, exchange: Exchange, shard: Shard) {
    self.probe = probe
    self.exchange = exchange
    self.shard = shard
  }

  var needsAllowedHost: Bool { false }

  func receivedEnd() {
    switch probe {
    case .livez: exchange.respond(.text(200, "ok\n"))
    case .version: askVersion()
    case .readyz where shard.isDraining: exchange.respond(notReady("shutdown", OpenStreams.stopping))
    case .health, .readyz: askRange()
    case .status, .landing:
      do throws(RequestError) {
        if !exchange.isAdmin { try exchange.checkHost(shard.settings.hosts) }
      } catch {
        // A page under a foreign host name must not read which members etcd has.
        if probe == .status { return exchange.refuse(error) }
        tellsAll = false
      }
      if !exchange.isAdmin && shard.settings.hasAdminListener { tellsAll = false }
      askRange()
    }
  }

  func clientIsGone() {
    if let call { shard.bridge.cancel(call) }
    if let cancellationToken { shard.versions.forget(cancellationToken) }
  }

  private func askVersion() {
    hasAskedMember = shard.bridge.readyMember != nil
    cancellationToken = shard.versions.ask { [unowned self] versions in
      cancellationToken = nil
      // `Status` waits for a connection if there is none.
      if let versions { answer(versions) } else { askStatus() }
    }
  }

  private func answer(_ versions: MemberVersions) {
    exchange.respond(HTTPResponse(status: 200, body: versions.json()))
  }

  private func askRange() {
    let request = Etcdserverpb_RangeRequest.with {
      $0.key = Data("health".utf8)
      $0.limit = 1
      $0.keysOnly = true
      $0.serializable = exchange.query("serializable") == "true"
    }
    start(EtcdRPC.range.method, request, credentials: .none)
  }

  private func askStatus() { start(EtcdRPC.status.method, Etcdserverpb_StatusRequest(), credentials: credentials) }

  private func askMembers() {
    start(EtcdRPC.memberList.method, Etcdserverpb_MemberListRequest(), credentials: credentials)
  }

  /// The gateway's own credentials, if etcd requires any.
  private var credentials: CallCredentials {
    if triesIdentity, let identity = shard.identity { .user(identity) } else { .none }
  }

  private func start(_ method: CallMethod, _ request: some Message, credentials: CallCredentials) {
    response = []
    let message = CallMessage(copying: request.encodedSmall())
    let call = Call(method, message: message, timeout: Self.timeout, delegate: self)
    call.maxBytes = KeyCalls.maxSmall
    self.call = call
    shard.bridge.start(call, for: Caller(credentials, peer: exchange.peer, trace: exchange.trace))
  }

  // MARK: - From etcd

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { response.append(contentsOf: bytes) }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    let isDenied = status.deniesRights
    if call.method === EtcdRPC.status.method && status.isOK {
      memberStatus = try? Etcdserverpb_StatusResponse(serializedBytes: response)
    }
    if call.method === EtcdRPC.status.method && isDenied && shard.identity != nil && !triesIdentity {
      triesIdentity = true
      return askStatus()
    }
    switch probe {
    case .livez: break
    case .readyz: exchange.respond(status.isOK || isDenied ? ready() : notReady("linearizable_read", status.message))
    case .health, .status, .landing:
      if call.method === EtcdRPC.status.method {
        if probe == .health || !tellsAll { return exchange.respond(health(failing: alarm)) }
        askMembers()
      } else if call.method === EtcdRPC.memberList.method {
        let members = status.isOK ? try? Etcdserverpb_MemberListResponse(serializedBytes: response) : nil
        exchange.respond(health(failing: alarm, members: members))
      } else if status.isOK || isDenied {
        needsUser = isDenied
        askStatus()
      } else {
        exchange.respond(health(failing: "RANGE ERROR:\(status.message)"))
      }
    case .version:
      if !hasAskedMember && shard.bridge.readyMember != nil { return askVersion() }
      if status.isOK, let versions = MemberVersions(server: memberStatus?.version ?? "") { return answer(versions) }
      let status = status.isOK ? GRPCStatus(.internal, "etcd sent an invalid answer: no version") : status
      exchange.respond(.error(status, hadCredentials: true))
    }
  }

  private func ready() -> HTTPResponse {
    .text(200, exchange.query("verbose") == nil ? "ok\n" : "[+]linearizable_read ok\nok\n")
  }

  private func notReady(_ check: String, _ reason: String) -> HTTPResponse {
    .text(503, "[-]\(check) failed: \(reason)\nreadyz check failed\n")
  }

  /// The shard's connections for calls, except those that only finish their calls.
  private var callLinks: [ChannelSample.Link] {
    shard.bridge.sample.channels.first { $0.kind == "calls" }?.sample.links.filter { $0.state != "draining" } ?? []
  }

  private func health(
    failing reason: String?, members: Etcdserverpb_MemberListResponse? = nil
  ) -> HTTPResponse {
    if probe != .health {
      let report = StatusReport(
        complaint: reason, status: memberStatus, members: members,
        links: tellsAll ? callLinks : [], moments: tellsAll ? shard.history.moments : [])
      if probe == .status {
        var response = HTTPResponse(status: 200, body: report.json())
        response.headers = [("Cache-Control", "no-store")]
        response.mayBePacked = true
        return response
      }
      return LandingPage(
        address: exchange.address, report: report, tellsAll: tellsAll, needsUser: needsUser,
        hasDocs: shard.settings.docs != nil, isAdmin: exchange.isAdmin
      ).response()
    }
    var body = ByteBuffer()
    body.append(reason == nil ? "{\"health\":\"true\",\"reason\":" : "{\"health\":\"false\",\"reason\":")
    body.appendJSONString(reason ?? "")
    body.append("}")
    return HTTPResponse(status: reason == nil ? 200 : 503, body: body)
  }

  /// The alarm in the answer to `Status`, unless the request excludes it. If `Status` is denied, alarms are unknown.
  private var alarm: String? {
    guard let status = memberStatus else { return nil }
    let excluded = exchange.query("exclude")
    let raised = ["NOSPACE", "CORRUPT"].first { (name: String) in
      name != excluded && status.errors.contains { $0.split(separator: " ").contains("alarm:\(name)") }
    }
    return raised.map { "ALARM \($0)" }
  }
}

extension GRPCStatus {
  /// Whether etcd was able to answer but refused to.
  fileprivate var deniesRights: Bool {
    origin != .client
      && (code == .permissionDenied || code == .unauthenticated
        || (code == .invalidArgument && message == EtcdMessage.userEmpty))
  }
}

extension HTTPResponse {
  fileprivate static func text(_ status: UInt32, _ text: String) -> HTTPResponse {
    HTTPResponse(status: status, contentType: "text/plain; charset=utf-8", text: text)
  }
}
