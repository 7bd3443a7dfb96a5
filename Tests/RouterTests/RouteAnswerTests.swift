import EtcdSchema
import HTTPServer
import TestSupport
import Testing

@testable import Gateway

/// Which requests reach a handler, and what all others get.
@Suite(.timeLimit(.minutes(15)))
struct RouteAnswerTests {
  @Test func aPathOfNothingIsNotFound() throws {
    try withRouter { router, _ in
      for (path, words) in [("/nothing", "/keys/KEY"), ("/v3/nothing", "/openapi.json"), ("/v2/keys/a", "/keys/KEY")] {
        expectError(try router.request("GET", path), 404, code: 5, words)
      }
    }
  }

  @Test func anotherMethodIsRefusedWithThoseOfThePath() throws {
    try withRouter { router, _ in
      let answer = try router.request("GET", "/v3/kv/range")
      expectError(answer, 405, code: 12, "as JSON in its body")
      #expect(answer[header: "Allow"] == "POST, OPTIONS")
      let patch = try router.request("PATCH", "/keys/a")
      expectError(patch, 405, code: 12)
      #expect(patch[header: "Allow"] == "GET, HEAD, PUT, DELETE, OPTIONS")
    }
  }

  @Test func optionsAreThoseOfThePathOrOfAll() throws {
    try withRouter { router, _ in
      for (path, methods) in [("/txn", "POST, OPTIONS"), ("*", "GET, HEAD, POST, PUT, DELETE, OPTIONS")] {
        let answer = try router.request("OPTIONS", path)
        #expect(answer.status == 204 && answer.body.isEmpty && answer[header: "Allow"] == methods, "\(path): \(answer)")
      }
    }
  }

  @Test func everyAnswerHasTheClientsIDOrOneOfItsOwn() throws {
    try withRouter { router, _ in
      let given = try router.request("GET", "/nothing", headers: [("X-Request-Id", "mine-7")])
      #expect(given[header: "X-Request-Id"] == "mine-7")
      let made = try router.request("GET", "/nothing")[header: "X-Request-Id"]
      let next = try router.request("GET", "/nothing")[header: "X-Request-Id"]
      #expect(made?.count == 13 && made != next)
      #expect(given[header: "X-Content-Type-Options"] == "nosniff")
    }
  }

  @Test func aPageOfAnotherOriginChangesNothing() throws {
    try withRouter {
      $0.origins = .init("https://a.test") ?? .init()
    } _: { router, etcd in
      etcd.on(EtcdRPC.put) { _ in .with { $0.header.revision = 2 } }
      let other = try router.request("PUT", "/keys/a", headers: [("Origin", "https://b.test")], body: "v")
      expectError(other, 403, code: 7, "--cors")
      #expect(router.calls(of: EtcdRPC.put).isEmpty && other[header: "Access-Control-Allow-Origin"] == nil)
      let listed = try router.request("PUT", "/keys/a", headers: [("Origin", "https://a.test")], body: "v")
      #expect(listed.status == 200 && listed[header: "Access-Control-Allow-Origin"] == "https://a.test", "\(listed)")
      let asked = try router.request(
        "OPTIONS", "/keys/a",
        headers: [("Origin", "https://a.test"), ("Access-Control-Request-Method", "PUT")])
      #expect(asked[header: "Access-Control-Allow-Methods"] == "GET, HEAD, PUT, DELETE, OPTIONS", "\(asked.head)")
    }
  }

  @Test func aBodyMustBeWholeAndNotCompressed() throws {
    try withRouter { router, _ in
      let packed = try router.request("PUT", "/keys/a", headers: [("Content-Encoding", "gzip")], body: "v")
      expectError(packed, 415, code: 3, "must not be compressed")
      #expect(packed[header: "Accept-Encoding"] == "identity")
      let part = try router.request("PUT", "/keys/a", headers: [("Content-Range", "bytes 0-0/2")], body: "v")
      expectError(part, 400, code: 3, "Content-Range")
      #expect(router.calls(of: EtcdRPC.put).isEmpty)
    }
  }

  @Test func aBodyThatIsTooLargeIsNotRead() throws {
    try withRouter {
      $0.maxValueBytes = 3
    } _: { router, _ in
      let answer = try router.request("PUT", "/keys/a", body: "four")
      expectError(answer, 413, code: 8, "--max-value-bytes")
      #expect(answer[header: "Connection"] == "close")
      // Its length is known before it comes.
      expectStatus(413, try router.request("PUT", "/keys/a", headers: [("Content-Length", "4")]))
      let chunked = router.begin("PUT", "/keys/a", body: ["fo", "ur"])
      try router.turn { chunked.ending != nil }
      expectError(try chunked.response(), 413, code: 8)
      #expect(router.calls(of: EtcdRPC.put).isEmpty)
    }
  }

  @Test func aHeadWithTwoMeaningsIsRefused() throws {
    try withRouter { router, _ in
      for headers in [[("Host", "a"), ("Host", "b")], [("Content-Length", "1"), ("Transfer-Encoding", "chunked")]] {
        expectError(try router.request("GET", "/livez", headers: headers), 400, code: 3)
      }
      expectError(try router.request("GET", "no-path"), 400, code: 3, "request target")
    }
  }

  @Test func aHeadThatIsTooLargeIsRefused() throws {
    try withRouter {
      $0.http.headerBytes = 100
    } _: { router, _ in
      let headers = [("X-Long", String(repeating: "x", count: 100))]
      expectError(try router.request("GET", "/livez", headers: headers), 431, code: 3, "--max-header-bytes")
    }
  }

  /// Only credentials that etcd checks excuse a name that may be a page's.
  @Test func anotherHostNeedsCredentials() throws {
    try withRouter { router, etcd in
      let headers = [("Host", "page.test")]
      expectError(try router.request("GET", "/keys/a", headers: headers), 421, code: 7, "--allowed-hosts")
      expectError(try router.request("GET", "/keys/a", headers: headers, user: "any:body"), 421, code: 7)
      etcd.enableAuth(["ann": "annpw"])
      etcd.on(EtcdRPC.range) { request in .found(request.key, "v") }
      expectStatus(200, try router.request("GET", "/keys/a", headers: headers, user: "ann:annpw"))
    }
  }

  @Test func pagesComePackedToClientsThatTakeThat() throws {
    try withRouter { router, _ in
      let packed = try router.request(
        "GET", "/", headers: [("Accept", "text/html"), ("Accept-Encoding", "br, gzip;q=0.5")])
      #expect(packed[header: "Content-Encoding"] == "gzip" && packed.body.starts(with: [0x1f, 0x8b]), "\(packed.head)")
      for accepted in ["br", "gzip;q=0"] {
        let plain = try router.request(
          "GET", "/", headers: [("Accept", "text/html"), ("Accept-Encoding", accepted)])
        #expect(plain[header: "Content-Encoding"] == nil && plain[header: "Vary"] == "Accept-Encoding")
      }
    }
  }
}
