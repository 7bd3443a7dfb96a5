import EtcdSchema
import Foundation
import TestSupport
import Testing

@testable import Gateway
@testable import GrpcBridge

/// HEAD of what has no end, or waits: the head with which GET would begin, after etcd has been asked.
@Suite(.timeLimit(.minutes(15)))
struct RouterHeadTests {
  private static let watches = ["/keys/a?watch=true", "/keys?prefix=a&watch=true", "/changes", "/changes?key=a"]

  /// etcd's answers to the creation of a watch: the creation, and then events.
  private static func watch(
    _ call: ScriptedPeer.Call, reason: String? = nil, eventAt revision: Int64? = nil
  ) -> ScriptedPeer.Answer {
    let request = try? Etcdserverpb_WatchRequest(serializedBytes: call.message)
    var response = Etcdserverpb_WatchResponse.with {
      $0.header.revision = 7
      $0.watchID = request?.createRequest.watchID ?? 0
      $0.created = true
      $0.canceled = reason != nil
      $0.cancelReason = reason ?? ""
    }
    var messages: [[UInt8]] = [(try? response.serializedBytes()) ?? []]
    if let revision {
      response.created = false
      response.header.revision = revision
      response.events = [
        .with {
          $0.kv = .found(Data("a".utf8), "v")
          $0.kv.modRevision = revision
        }
      ]
      messages.append((try? response.serializedBytes()) ?? [])
    }
    return .init([.headers(.grpcResponse)] + messages.map { .data(grpcFrame($0)) })
  }

  @Test(arguments: watches)
  func aWatchEndsWithItsHead(_ target: String) throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.watch, script: { call in Self.watch(call) })
      for (accepted, type) in [("*/*", "application/x-ndjson"), ("text/event-stream", "text/event-stream")] {
        let answer = try router.request("HEAD", target, headers: [("Accept", accepted)])
        #expect(answer.status == 200 && answer.body.isEmpty, "\(answer)")
        #expect(answer[header: "Content-Type"] == type && answer[header: "X-Etcd-Revision"] == "7", "\(answer.head)")
        #expect(answer[header: "Cache-Control"] == "no-store, no-transform", "\(answer.head)")
      }
      try router.turn("the end of the watches") { router.calls(of: EtcdRPC.watch).allSatisfy { $0.reset != nil } }
      #expect(router.calls(of: EtcdRPC.watch).count == 2)
    }
  }

  @Test(arguments: watches)
  func whatEtcdRefusesIsRefusedLikewise(_ target: String) throws {
    try withRouter { router, etcd in
      let reason = GRPCStatus(.permissionDenied, EtcdMessage.permissionDenied).text
      etcd.on(EtcdRPC.watch, script: { call in Self.watch(call, reason: reason) })
      let get = try router.request("GET", target)
      let head = try router.request("HEAD", target)
      #expect(head.status == get.status && head.body.isEmpty && get.status >= 400, "\(get), HEAD \(head.head)")
      #expect(head[header: "WWW-Authenticate"] == get[header: "WWW-Authenticate"], "\(head.head)")
    }
  }

  @Test(arguments: ["/keys/a?wait=1m&since=6", "/changes?prefix=a&wait=1m&since=6"])
  func aWaitIsAsLongAsThatOfGet(_ target: String) throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.watch, script: { call in Self.watch(call, eventAt: 9) })
      let get = try router.request("GET", target)
      let head = try router.request("HEAD", target)
      #expect(get.status == 200 && head.status == 200 && head.body.isEmpty, "\(get), HEAD \(head.head)")
      #expect(head[header: "X-Etcd-Revision"] == "9" && get[header: "X-Etcd-Revision"] == "9", "\(head.head)")
    }
  }

  /// Whether a client leads makes no difference to the head of an observation, but who asks does.
  @Test func anObservationNeedsNoLeader() throws {
    try withRouter { router, etcd in
      let target = "/elections/e/changes?heartbeat=5s"
      for isLed in [false, true] {
        etcd.on(EtcdRPC.range) { request in isLed ? .found(request.key, "v") : .with { $0.header.revision = 7 } }
        let answer = try router.request("HEAD", target)
        #expect(answer.status == 200 && answer.body.isEmpty, "\(answer)")
        #expect(answer[header: "Content-Type"] == "application/x-ndjson", "\(answer.head)")
        #expect(answer[header: "Cache-Control"] == "no-store, no-transform", "\(answer.head)")
      }
      etcd.on(EtcdRPC.range) { _ in throw SimulatedEtcd.Refusal(.permissionDenied, EtcdMessage.permissionDenied) }
      expectStatus(403, try router.request("HEAD", target))
      expectStatus(400, try router.request("HEAD", "/elections/e/changes?since=1"))
      #expect(router.calls(of: EtcdRPC.observe).isEmpty)
    }
  }
}
