import TestSupport
import Testing

/// The behaviour of Debian's proxies that other suites rely on.
struct ReverseProxyTests {
  @Test func requestsGoThroughNginx() async throws {
    try await withReverseProxy(.nginx("location / { return 200 'nginx'; }")) { proxy in
      let answer = try await proxy.http.get("/")
      #expect(answer.status == 200 && answer.text == "nginx")
    }
  }

  @Test func requestsGoThroughHAProxy() async throws {
    try await withReverseProxy(.haproxy("http-request return status 200 content-type text/plain string haproxy")) {
      proxy in
      let answer = try await proxy.http.get("/")
      #expect(answer.status == 200 && answer.text == "haproxy")
    }
  }

  @Test func aConfigurationThatIsWrongIsReported() async throws {
    for kind in [ReverseProxy.Kind.nginx("no_such_directive;"), .haproxy("no-such-keyword")] {
      await #expect(throws: TestSupportError.self) { try await withReverseProxy(kind) { _ in } }
    }
  }
}
