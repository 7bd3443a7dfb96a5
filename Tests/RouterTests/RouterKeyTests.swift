import EtcdSchema
import Foundation
import TestSupport
import Testing

@testable import Gateway
@testable import GrpcBridge

/// Keys as resources, transactions and leases in plain JSON: which calls they become, and what is answered.
@Suite(.timeLimit(.minutes(15)))
struct RouterKeyTests {
  private static let a = Data("a".utf8)

  // MARK: - Reads

  @Test func aKeyIsAnsweredAsItsValue() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.range) { request in .found(request.key, "v") }
      let answer = try router.request("GET", "/keys/a%2F%00?serializable=true")
      #expect(answer.status == 200 && answer.text == "v" && answer[header: "ETag"] == "\"5\"", "\(answer)")
      #expect(answer[header: "Content-Type"] == "application/octet-stream" && answer[header: "X-Etcd-Revision"] == "7")
      #expect(answer[header: "X-Etcd-Create-Revision"] == "4" && answer[header: "X-Etcd-Version"] == "2")
      let request = try #require(try router.requests(of: EtcdRPC.range).first)
      #expect(request.key == Data("a/\0".utf8) && request.rangeEnd.isEmpty && request.serializable)
    }
  }

  @Test func headIsTheSameWithoutTheBody() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.range) { request in .found(request.key, "v") }
      let answer = try router.request("HEAD", "/keys/a")
      #expect(answer.status == 200 && answer.body.isEmpty && answer[header: "ETag"] == "\"5\"")
    }
  }

  @Test func aKeyMayBeAnsweredAsJSON() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.range) { request in .found(request.key, "v") }
      let json: JSON = [
        "key": "a", "value": "v", "create_revision": 4, "mod_revision": 5, "version": 2, "lease": "0",
      ]
      for (target, accept) in [("/keys/a", "application/json"), ("/keys?key=a", "*/*")] {
        #expect(try router.request("GET", target, headers: [("Accept", accept)]).json == json)
        expectStatus(200, try router.request("GET", target, headers: [("Accept", accept)]))
      }
    }
  }

  @Test func anAbsentKeyIsNotFound() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.range) { _ in .with { $0.header.revision = 7 } }
      let answer = try router.request("GET", "/keys/a")
      expectError(answer, 404, code: 5)
      #expect(answer[header: "X-Etcd-Revision"] == "7" && answer[header: "ETag"] == nil)
    }
  }

  @Test func aCompactedRevisionIsGone() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.range) { _ in throw SimulatedEtcd.Refusal(.outOfRange, EtcdMessage.compacted) }
      expectError(try router.request("GET", "/keys/a?revision=1"), 410, code: 11)
    }
  }

  @Test func conditionsOfReadsAreDecidedHere() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.range) { request in .found(request.key, "v") }
      let same = try router.request("GET", "/keys/a", headers: [("If-None-Match", "\"5\"")])
      #expect(same.status == 304 && same.body.isEmpty && same[header: "ETag"] == "\"5\"")
      expectStatus(200, try router.request("GET", "/keys/a", headers: [("If-None-Match", "\"4\"")]))
      expectError(try router.request("GET", "/keys/a", headers: [("If-Match", "\"4\"")]), 412, code: 9)
      expectError(try router.request("GET", "/keys/a", headers: [("If-Match", "x")]), 400, code: 3, "If-Match")
    }
  }

  @Test func aPrefixIsListed() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.range) { request in
        .with {
          $0.header.revision = 7
          $0.kvs = [.found(Data("a/1".utf8), "v"), .found(Data("a/2".utf8), "w")]
          $0.count = 3
          $0.more = true
        }
      }
      let json = try router.request("GET", "/keys?prefix=a/&limit=2&keys_only=true").json
      #expect(json["keys"]?.array?.map { $0["key"] } == ["a/1", "a/2"] && json["count"] == 3)
      let request = try #require(try router.requests(of: EtcdRPC.range).first)
      #expect(request.key == Data("a/".utf8) && request.rangeEnd == Data("a0".utf8))
      #expect(request.limit == 2 && request.keysOnly)
      // The next page is at the same revision, from the key after the last one.
      let cursor = try #require(json["cursor"]?.string)
      expectStatus(200, try router.request("GET", "/keys?prefix=a/&limit=2&keys_only=true&cursor=\(cursor)"))
      let next = try #require(try router.requests(of: EtcdRPC.range).last)
      #expect(next.key == Data("a/2\0".utf8) && next.rangeEnd == request.rangeEnd && next.revision == 7)
      expectError(try router.request("GET", "/keys?prefix=a/&nothing=1"), 400, code: 3, "nothing")
      expectError(try router.request("GET", "/keys?prefix=a/&cursor=x"), 400, code: 3, "cursor")
      expectError(try router.request("GET", "/keys?prefix=a/&cursor=\(cursor)"), 400, code: 3, "other parameters")
    }
  }

  // MARK: - Changes

  @Test func aKeyIsPut() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.put) { _ in .with { $0.header.revision = 8 } }
      let answer = try router.request("PUT", "/keys/a", body: "v")
      #expect(try answer.status == 200 && answer.json == ["revision": 8] && answer[header: "ETag"] == "\"8\"")
      expectStatus(200, try router.request("POST", "/keys", body: #"{"key":"a","value_base64":"dg=="}"#))
      for request in try router.requests(of: EtcdRPC.put) {
        #expect(request.key == Self.a && request.value == Data("v".utf8) && request.lease == 0)
      }
      #expect(router.calls(of: EtcdRPC.put).count == 2)
    }
  }

  @Test func aConditionalPutIsATransaction() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.txn) { request in
        .with {
          $0.header.revision = 8
          $0.succeeded = request.compare.first?.modRevision == 5
          let failed = Etcdserverpb_RangeResponse.found(Self.a, "")
          $0.responses = [$0.succeeded ? .with { $0.responsePut = .init() } : .with { $0.responseRange = failed }]
        }
      }
      expectStatus(200, try router.request("PUT", "/keys/a", headers: [("If-Match", "\"5\"")], body: "v"))
      let request = try #require(try router.requests(of: EtcdRPC.txn).first)
      #expect(request.compare.first?.key == Self.a && request.compare.first?.target == .mod)
      #expect(request.compare.first?.result == .equal)
      #expect(request.success.first?.requestPut.value == Data("v".utf8))
      let lost = try router.request("PUT", "/keys/a", headers: [("If-Match", "\"4\"")], body: "v")
      expectError(lost, 412, code: 9, "mod_revision 5")
      #expect(lost[header: "ETag"] == "\"5\"")
      let absent = try router.request("PUT", "/keys/a", headers: [("If-None-Match", "*")], body: "v")
      expectError(absent, 412, code: 9)
      let creation = try #require(try router.requests(of: EtcdRPC.txn).last?.compare.first)
      #expect(creation.target == .create && creation.result == .equal && creation.createRevision == 0)
      #expect(router.calls(of: EtcdRPC.put).isEmpty)
    }
  }

  @Test func aKeyWithATimeToLiveGetsALease() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.leaseGrant) { request in
        .with {
          $0.id = 77
          $0.ttl = request.ttl
        }
      }
      etcd.on(EtcdRPC.leaseRevoke) { _ in .init() }
      etcd.on(EtcdRPC.put) { _ in .with { $0.header.revision = 8 } }
      let answer = try router.request("PUT", "/keys/a?ttl=1500ms", body: "v")
      #expect(try answer.json == ["revision": 8, "lease": "77", "ttl": 2])
      #expect(try router.requests(of: EtcdRPC.put).first?.lease == 77)
      // A lease of a key that was not put is of no use.
      etcd.on(EtcdRPC.put) { _ in throw SimulatedEtcd.Refusal(.permissionDenied, EtcdMessage.permissionDenied) }
      expectError(try router.request("PUT", "/keys/a?ttl=60s", body: "v"), 403, code: 7)
      #expect(try router.requests(of: EtcdRPC.leaseRevoke).map(\.id) == [77])
      // But that of a key that may have been put is kept.
      etcd.on(EtcdRPC.put) { _ in throw SimulatedEtcd.Refusal(.internal, "a fault") }
      expectError(try router.request("PUT", "/keys/a?ttl=60s", body: "v"), 500, code: 13)
      #expect(router.calls(of: EtcdRPC.leaseRevoke).count == 1)
    }
  }

  @Test func keysAreDeleted() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.deleteRange) { request in
        .with {
          $0.header.revision = 8
          $0.deleted = request.key == Data("none".utf8) ? 0 : request.rangeEnd.isEmpty ? 1 : 3
        }
      }
      #expect(try router.request("DELETE", "/keys/a").json == ["deleted": 1, "revision": 8])
      #expect(try router.request("DELETE", "/keys?prefix=a").json == ["deleted": 3, "revision": 8])
      expectError(try router.request("DELETE", "/keys/none"), 404, code: 5)
      // All keys must be meant.
      expectError(try router.request("DELETE", "/keys"), 400, code: 3)
      #expect(router.calls(of: EtcdRPC.deleteRange).count == 3)
    }
  }

  @Test func aTransactionIsOne() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.txn) { request in
        .with {
          $0.header.revision = 8
          $0.succeeded = true
          $0.responses = [
            .with { $0.responsePut.header.revision = 8 },
            .with { $0.responseRange = .found(Self.a, "v") },
          ]
        }
      }
      let body = #"{"if":[{"key":"a","version":0}],"then":[{"put":{"key":"a","value":"v"}},{"get":{"key":"a"}}]}"#
      let json = try router.request("POST", "/txn", body: body).json
      #expect(json["revision"] == 8 && json["succeeded"] == true && json["responses"]?[1]?["get"]?["value"] == "v")
      let request = try #require(try router.requests(of: EtcdRPC.txn).first)
      #expect(request.compare.first?.target == .version && request.success.count == 2 && request.failure.isEmpty)
      expectError(try router.request("POST", "/txn", body: #"{"then":[{"move":{}}]}"#), 400, code: 3, "move")
    }
  }

  // MARK: - Leases

  @Test func leasesAreGrantedShownListedAndRevoked() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.leaseGrant) { request in
        .with {
          $0.id = 77
          $0.ttl = request.ttl
        }
      }
      etcd.on(EtcdRPC.leaseTimeToLive) { request in
        .with {
          $0.id = request.id
          $0.ttl = request.id == 77 ? 50 : -1
          $0.grantedTtl = 60
          $0.keys = request.keys ? [Self.a] : []
        }
      }
      etcd.on(EtcdRPC.leaseLeases) { _ in .with { $0.leases = [.with { $0.id = 77 }] } }
      etcd.on(EtcdRPC.leaseRevoke) { request in
        guard request.id == 77 else { throw SimulatedEtcd.Refusal(.notFound, EtcdMessage.leaseNotFound) }
        return .with { $0.header.revision = 9 }
      }
      #expect(try router.request("POST", "/leases", body: #"{"ttl":"60s"}"#).json["id"] == "77")
      let shown = try router.request("GET", "/leases/77?keys=true").json
      #expect(shown["ttl"] == 50 && shown["granted_ttl"] == 60 && shown["keys"]?[0]?["key"] == "a", "\(shown)")
      expectError(try router.request("GET", "/leases/78"), 404, code: 5)
      #expect(try router.request("GET", "/leases").json["leases"]?[0]?["id"] == "77")
      #expect(try router.request("DELETE", "/leases/77").json["revision"] == 9)
      expectError(try router.request("DELETE", "/leases/78"), 404, code: 5)
      expectError(try router.request("POST", "/leases", body: "{}"), 400, code: 3, "'ttl' is missing")
    }
  }

  // MARK: - Batches

  /// Reads that come in the same turn go as one transaction; each gets its own answer.
  @Test func readsOfOneTurnTravelTogether() throws {
    try withRouter {
      $0.bridge.maxBatch = 8
    } _: { router, etcd in
      etcd.on(EtcdRPC.range) { request in .found(request.key, String(decoding: request.key, as: UTF8.self)) }
      etcd.on(EtcdRPC.txn) { request in
        .with {
          $0.succeeded = true
          $0.responses = request.success.map { operation in
            .with {
              let key = operation.requestRange.key
              $0.responseRange = .found(key, String(decoding: key, as: UTF8.self))
            }
          }
        }
      }
      // Whether etcd takes such transactions is found out first.
      etcd.on(EtcdRPC.status) { _ in .with { $0.version = "3.5.30" } }
      var rounds = 0
      repeat {
        let clients = ["a", "b", "a"].map { router.begin("GET", "/keys/\($0)") }
        try router.turn { clients.allSatisfy { $0.ending != nil } }
        #expect(try clients.map { try $0.response().text } == ["a", "b", "a"])
        rounds += 1
      } while router.calls(of: EtcdRPC.txn).isEmpty && rounds < 20
      let batch = try #require(try router.requests(of: EtcdRPC.txn).last)
      #expect(batch.success.map(\.requestRange.key) == [Data("a".utf8), Data("b".utf8)])
    }
  }
}
