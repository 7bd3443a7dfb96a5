import EtcdSchema
import EventLoop
import Logging
import SwiftProtobuf
import Synchronization
import TestSupport
import Testing

@testable import GrpcBridge

/// Endpoints that follow the member list.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct EndpointSyncTests {
  private static let path = EtcdRPC.memberList.path

  private static func answer(_ members: [(name: String, urls: [String], isLearner: Bool)]) -> ScriptedPeer.Answer {
    let response = Etcdserverpb_MemberListResponse.with {
      $0.members = members.map { member in
        .with {
          $0.name = member.name
          $0.clientUrls = member.urls
          $0.isLearner = member.isLearner
        }
      }
    }
    return .message((try? response.serializedBytes()) ?? [])
  }

  /// Runs a sync against `script` and returns its reports, as soon as there are `count`.
  private static func reports(
    _ count: Int, user: BasicCredentials? = nil, script: @escaping ScriptedPeer.Script
  ) async throws -> (reports: [[String]], record: ScriptedPeer.Record) {
    let reports = Mutex<[[String]]>([])
    var result: ([[String]], ScriptedPeer.Record)?
    try await withBridge(script: script) { fixture in
      let sync = Mutex<LoopBound<EndpointSync>?>(nil)
      await fixture.run { [loop = fixture.loop] bridge in
        let caller = Caller(user.map { .user(bridge.keep($0)) } ?? .none, peer: .itself)
        let made = EndpointSync(
          bridge: bridge, loop: loop.value, interval: 10, caller: caller, logger: Logger(label: "test")
        ) { endpoints in reports.withLock { $0.append(endpoints.map(\.description)) } }
        sync.withLock { $0 = LoopBound(made, loop: loop.value) }
      }
      _ = try await eventually("\(count) reports") { reports.withLock { $0.count >= count ? true : nil } }
      await fixture.run { _ in
        sync.withLock {
          $0?.value.stop()
          $0 = nil
        }
      }
      result = (reports.withLock { $0 }, fixture.peer.record)
    }
    return try #require(result)
  }

  @Test func membersThatServeClientsAreReportedOnce() async throws {
    let (reports, record) = try await Self.reports(2) { call in
      call.attempt < 4
        ? Self.answer([
          ("b", ["http://10.0.0.2:2379"], false), ("a", ["http://10.0.0.1:2379", "https://a:2379"], false),
          ("learner", ["http://10.0.0.3:2379"], true), ("", [], false),
        ]) : Self.answer([("b", ["http://10.0.0.2:2379"], false)])
    }
    let first = ["http://10.0.0.1:2379", "http://10.0.0.2:2379", "https://a:2379"]
    #expect(reports == [first, ["http://10.0.0.2:2379"]])
    #expect(record.streams(of: Self.path).count >= 4)
  }

  private static func urls(_ count: Int) -> [String] { (1...count).map { "http://10.0.0.1:\($0)" } }

  /// A server in the place of a member could name any number.
  @Test func aLimitedNumberOfEndpointsIsTaken() async throws {
    let most = EndpointSync.maxEndpoints
    let (reports, _) = try await Self.reports(2) { call in
      switch call.attempt {
      case 1: Self.answer([("a", ["http://10.0.0.9:1"], false)])
      case 2: Self.answer([("a", Self.urls(most), false), ("b", ["http://10.0.0.2:1"], false)])
      default: Self.answer([("a", Self.urls(most), false), ("b", Self.urls(most), false)])
      }
    }
    #expect(reports == [["http://10.0.0.9:1"], Self.urls(most).sorted()])
  }

  @Test func failuresAndEmptyListsChangeNothing() async throws {
    let (reports, _) = try await Self.reports(1) { call in
      switch call.attempt {
      case 1: .failure(7, "etcdserver: permission denied")
      case 2: Self.answer([])
      case 3: Self.answer([("a", ["gopher://a"], false)])
      case 4: .message([0xff])
      default: Self.answer([("a", ["http://10.0.0.1:2379"], false)])
      }
    }
    #expect(reports == [["http://10.0.0.1:2379"]])
  }

  @Test func theUserAsks() async throws {
    let (_, record) = try await Self.reports(1, user: BasicCredentials(user: "ann", password: "secret")) { call in
      guard call.path == EtcdRPC.authenticate.path else {
        return Self.answer([("a", ["http://10.0.0.1:2379"], false)])
      }
      let response = Etcdserverpb_AuthenticateResponse.with { $0.token = "ann.1" }
      return .message((try? response.serializedBytes()) ?? [])
    }
    #expect(record.streams(of: Self.path).first?.headers["token"] == "ann.1")
  }
}
