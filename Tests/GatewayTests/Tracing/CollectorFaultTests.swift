import Foundation
import TLS
import TestSupport
import Testing

/// Collectors that are slow, hostile or absent: requests are not affected, and lost spans are counted.
@Suite(.timeLimit(.minutes(15))) struct CollectorFaultTests {
  private func withTracing(
    _ url: String, _ flags: [String] = [], body: (GatewayProcess) async throws -> Void
  ) async throws {
    try await withScriptedEtcd(
      gateway: ["--otlp-endpoint", url] + flags, script: { $0.path == RPCPath.put ? .put : .range }
    ) { _, gateway in try await body(gateway) }
  }

  private func put(_ gateway: GatewayProcess) async throws {
    expectStatus(200, try await gateway.http.request("PUT", "/keys/a", body: [1]))
  }

  private func metric(_ gateway: GatewayProcess, _ series: String) async throws -> Double {
    let text = try await gateway.http.get("/metrics").text
    let line = text.split(separator: "\n").first { $0.hasPrefix("etcd_rest_\(series) ") }
    return try #require(line.flatMap { Double($0.split(separator: " ").last ?? "") }, "\(text)")
  }

  private func warnings(_ gateway: GatewayProcess) -> [Substring] {
    gateway.log.split(separator: "\n").filter { $0.contains("spans cannot be exported") }
  }

  /// The first such line: it is written a moment after the loss was counted.
  private func warning(_ gateway: GatewayProcess) async throws -> Substring {
    try await eventually("a warning") { warnings(gateway).first }
  }

  /// An export with a bad answer is repeated as soon as the collector is well.
  @Test(arguments: [
    Collector.Answer.status(503, headers: ["Retry-After: 1"]), .status(429), .status(502), .bytes(""),
    .bytes("SSH-2.0-what\r\n"), .bytes("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), .endless,
    .bytes("HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 100_000)),
  ])
  func whatFailsIsSentAgain(_ answer: Collector.Answer) async throws {
    let collector = try Collector { $0 == 0 ? answer : .good }
    defer { collector.stop() }
    try await withTracing(collector.url) { gateway in
      try await put(gateway)
      let spans = try await collector.spans(2)
      #expect(collector.requests.count >= 2 && collector.requests[0].body == collector.requests[1].body)
      #expect(Set(spans.map(\.id)).count == spans.count)
      _ = try await eventually("a line that it is well again") {
        gateway.log.contains("spans are exported again") ? true : nil
      }
      #expect(warnings(gateway).count == 1, "\(gateway.log)")
      #expect(try await metric(gateway, #"span_exports_total{result="failed"}"#) == 1)
      #expect(try await metric(gateway, #"spans_dropped_total{reason="unsent"}"#) == 0)
    }
  }

  /// The pause that a collector demands is observed: there is one request, whatever comes meanwhile.
  @Test func retryAfterIsHeeded() async throws {
    let collector = try Collector { _ in .status(503, headers: ["Retry-After: 999999999"]) }
    defer { collector.stop() }
    try await withTracing(collector.url) { gateway in
      try await put(gateway)
      _ = try await eventually("an export") { collector.requests.isEmpty ? nil : true }
      // Longer than spans are gathered, and than the pause would be otherwise.
      try await Task.sleep(for: .seconds(4))
      try await put(gateway)
      #expect(collector.requests.count == 1)
    }
  }

  @Test(arguments: [400, 401, 404, 500])
  func whatIsRefusedIsCountedAndDropped(_ status: Int) async throws {
    let collector = try Collector { $0 == 0 ? .status(status) : .good }
    defer { collector.stop() }
    try await withTracing(collector.url) { gateway in
      try await put(gateway)
      _ = try await eventually("rejected spans") {
        try await metric(gateway, #"spans_dropped_total{reason="rejected"}"#) >= 2 ? true : nil
      }
      #expect(try await warning(gateway).contains("status \(status)"))
    }
  }

  @Test func whatIsTakenInPartIsCounted() async throws {
    let collector = try Collector { number in
      number == 0 ? .status(200, body: #"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}"#) : .good
    }
    defer { collector.stop() }
    try await withTracing(collector.url) { gateway in
      try await put(gateway)
      _ = try await eventually("a rejected span") {
        try await metric(gateway, #"spans_dropped_total{reason="rejected"}"#) == 1 ? true : nil
      }
      #expect(try await warning(gateway).contains("too old"))
    }
  }

  /// A collector that does not answer delays nothing, and takes no memory beyond the limit.
  @Test func whatDoesNotFitIsCounted() async throws {
    let collector = try Collector { _ in .silence }
    defer { collector.stop() }
    try await withTracing(collector.url, ["--otlp-max-spans", "10", "--shutdown-timeout", "1s"]) { gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      for _ in 0..<100 { expectStatus(200, try await connection.request("GET", "/livez")) }
      await connection.close()
      // Ten are on their way and ten wait; exports begin as soon as there are enough.
      #expect(try await metric(gateway, #"spans_dropped_total{reason="overflow"}"#) >= 80)
      #expect(Set(collector.requests.map(\.body)).count <= 1)
    }
  }

  @Test func nobodyThereIsSaidOnce() async throws {
    let port = try LoopbackPort.pick(1)[0]
    try await withTracing("http://127.0.0.1:\(port)") { gateway in
      try await put(gateway)
      _ = try await eventually("two failures") {
        try await metric(gateway, #"span_exports_total{result="failed"}"#) >= 2 ? true : nil
      }
      #expect(try await warning(gateway).contains("connection refused"))
      #expect(warnings(gateway).count == 1, "\(gateway.log)")
      // A collector that starts later gets what is left.
      let collector = try Collector(port: port)
      defer { collector.stop() }
      _ = try await collector.spans(2) { $0.name.contains("Put") || $0.name.contains("PUT") }
    }
  }

  @Test func theEndSendsWhatIsLeft() async throws {
    let collector = try Collector()
    defer { collector.stop() }
    var told = ""
    try await withTracing(collector.url) { gateway in
      let answer = try await gateway.http.request("PUT", "/keys/a", body: [1])
      told = try #require(answer[header: "traceparent"])
      try await gateway.stop()
    }
    let spans = collector.spans.filter { told.contains($0.trace) }
    #expect(spans.count == 2, "\(collector.spans)")
  }

  /// A collector that does not answer does not keep the gateway from ending properly.
  @Test func theEndWaitsForNobody() async throws {
    let collector = try Collector { _ in .silence }
    defer { collector.stop() }
    try await withTracing(collector.url) { gateway in
      try await put(gateway)
      try await gateway.stop()
      #expect(gateway.log.contains("spans were not exported before the end spans=2"), "\(gateway.log)")
    }
  }

  @Test func aCollectorWithTLSAndAToken() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let files = try authority.issue("collector")
      var settings = TLSSettings(.server, verification: .none)
      (settings.certificate, settings.key) = (files.certificate, files.key)
      let collector = try Collector(tls: TLSContext(settings))
      defer { collector.stop() }
      let headers = "\(directory)/headers"
      try "# a comment\nAuthorization: Bearer sesame\r\n\nX-Scope: a b\n".write(
        toFile: headers, atomically: true, encoding: .utf8)
      let flags = ["--otlp-cacert", authority.certificate, "--otlp-headers-file", headers, "--log-level", "trace"]
      try await withTracing(collector.url, flags) { gateway in
        try await put(gateway)
        _ = try await collector.spans(2)
        let head = try #require(collector.requests.first?.head)
        #expect(head.contains("\r\nAuthorization: Bearer sesame\r\nX-Scope: a b"), "\(head)")

        // A token that is renewed is used after a reload; a file that is no good leaves the old one in use.
        func renew(_ text: String, until word: String) async throws {
          try text.write(toFile: headers, atomically: true, encoding: .utf8)
          gateway.process.signal(SIGHUP)
          try await gateway.expectLogged(word)
        }
        try await renew("Authorization Bearer spell\n", until: "the reload failed")
        try await renew("Authorization: Bearer charm\n", until: "changed=otlp-headers-file")
        try await put(gateway)
        _ = try await collector.spans(4)
        let last = try #require(collector.requests.last?.head)
        #expect(last.hasSuffix("\r\nAuthorization: Bearer charm"), "\(last)")
        for secret in ["sesame", "spell", "charm"] { #expect(!gateway.log.contains(secret)) }
      }
      // Its authority is not among the system's.
      try await withTracing(collector.url) { gateway in
        try await put(gateway)
        #expect(try await warning(gateway).contains("certificate"))
      }
    }
  }

  @Test(arguments: [
    (["--otlp-endpoint", "collector:4318"], "expected http://HOST"), (["--otlp-sample-ratio", "2"], "from 0 to 1"),
    (["--otlp-cacert", "/x"], "--otlp-cacert needs --otlp-endpoint"),
    (["--otlp-headers-file", "/x"], "--otlp-headers-file needs --otlp-endpoint"),
    (["--otlp-endpoint", "http://c", "--otlp-cacert", "/x"], "needs an https:// URL"),
    (["--otlp-endpoint", "https://c", "--otlp-cacert", "/nowhere"], "--otlp-cacert: /nowhere"),
    (["--otlp-endpoint", "http://c", "--otlp-headers-file", "/nowhere"], "--otlp-headers-file: /nowhere"),
    (["--otlp-endpoint", "http://c", "--otlp-max-spans", "0"], "--otlp-max-spans must be from 1"),
  ])
  func flagsAreChecked(_ flags: [String], _ fault: String) async throws {
    let run = try await runGateway(["serve"] + flags)
    #expect(run.exit != .code(0) && run.errorOutput.contains(fault), "\(run)")
  }

  @Test(arguments: ["no colon", "Host: a", ": b", "a b: c", "A: \u{1}"])
  func headersAreChecked(_ line: String) async throws {
    try await withTemporaryDirectory { directory in
      let path = "\(directory)/headers"
      try "X: ok\n\(line)\n".write(toFile: path, atomically: true, encoding: .utf8)
      let run = try await runGateway(["serve", "--otlp-endpoint", "http://c", "--otlp-headers-file", path])
      #expect(run.exit != .code(0) && run.errorOutput.contains("\(path):2: "), "\(run)")
    }
  }
}
