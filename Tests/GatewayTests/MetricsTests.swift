import Foundation
import TestSupport
import Testing

@testable import Gateway
@testable import HTTPServer

/// `GET /metrics` and `--admin-listen`.
@Suite struct MetricsTests {
  /// A user's reads and writes, a watch, errors and a login, on two shards, add up.
  @Test func whatIsServedIsCounted() async throws {
    try await withEtcd(.v3_5) { etcd in
      try await etcd.enableAuth(rootPassword: "rootpw")
      try await withGateway([etcd.url], ["--shards", "2"]) { gateway in
        let http = gateway.http
        for _ in 0..<3 {
          #expect(
            try await http.request("PUT", "/keys/secret", user: "root:rootpw", body: Array("1".utf8)).status == 200)
        }
        #expect(try await http.post("/v3beta/kv/range", [:], user: "root:rootpw").status == 400)
        #expect(try await http.get("/keys/secret", user: "root:wrong").status == 401)
        #expect(try await http.get("/nowhere").status == 404)
        #expect(try await http.get("/leases/5", user: "root:rootpw").status == 404)
        #expect(try await http.post("/leases/5/keepalive").status == 401)
        #expect(try await http.post("/txn", [:], user: "root:rootpw").status == 200)
        for method in ["GET", "PUT", "DELETE"] {
          #expect(try await http.request(method, "/v3/kv/txn").status == 405)
        }
        let body = #"{"create_request":{"key":"YQ=="}}"#
        let watch = try await JSONStream.open(gateway.url, "/v3/watch", body, user: "root:rootpw")
        _ = try #require(try await watch.next())
        #expect(try await http.post("/v3/kv/put", ["key": "YQ==", "value": "MQ=="], user: "root:rootpw").status == 200)
        _ = try #require(try await watch.next())

        let answer = try await http.get("/metrics")
        #expect(answer.status == 200)
        #expect(answer[header: "Content-Type"] == "text/plain; version=0.0.4; charset=utf-8")
        let metrics = try Exposition(answer.text)
        let requests = "etcd_rest_http_requests_total"
        #expect(metrics[requests, "route=\"/keys/{key}\",method=\"PUT\",status=\"200\""] == 3)
        #expect(metrics[requests, "route=\"/keys/{key}\",method=\"GET\",status=\"401\""] == 1)
        #expect(metrics[requests, "route=\"/v3/kv/range\",method=\"POST\",status=\"400\""] == 1)
        #expect(metrics[requests, "route=\"none\",method=\"GET\",status=\"404\""] == 1)
        #expect(metrics[requests, "route=\"/leases/{id}\",method=\"GET\",status=\"404\""] == 1)
        #expect(metrics[requests, "route=\"/leases/{id}/keepalive\",method=\"POST\",status=\"401\""] == 1)
        #expect(metrics[requests, "route=\"/txn\",method=\"POST\",status=\"200\""] == 1)
        // Methods that a route does not have share a row.
        #expect(metrics[requests, "route=\"/v3/kv/txn\",method=\"other\",status=\"405\""] == 3)
        #expect(!answer.text.contains("route=\"/v3/kv/txn\",method=\"PUT\""))
        let durations = "etcd_rest_http_request_duration_seconds"
        #expect(metrics["\(durations)_count", "route=\"/keys/{key}\",method=\"PUT\""] == 3)
        #expect(metrics["etcd_rest_http_requests_in_flight"] == 1)
        let endpoint = try #require(URL(string: etcd.url)?.port).description
        #expect(
          metrics[
            "etcd_rest_upstream_calls_total",
            "rpc=\"etcdserverpb.KV/Put\",code=\"OK\",endpoint=\"127.0.0.1:\(endpoint)\""] == 4)
        #expect(metrics["etcd_rest_logins_total", "result=\"granted\""] == 1)
        #expect(metrics["etcd_rest_logins_total", "result=\"refused\""] == 1)
        #expect(metrics["etcd_rest_tokens"] == 1)
        #expect(metrics["etcd_rest_streams", "route=\"/v3/watch\",transport=\"http\""] == 1)
        #expect(metrics["etcd_rest_watches"] == 1)
        #expect(metrics["etcd_rest_watch_events_delivered_total"] == 1)
        #expect(metrics["etcd_rest_shard_up", "shard=\"1\""] == 1)
        // Neither users nor keys.
        #expect(!answer.text.contains("root") && !answer.text.contains("secret"))

        // What has ended is no longer open.
        await watch.connection.close()
        _ = try await eventually("end of the stream in the metrics") { () -> Bool? in
          let metrics = try Exposition(try await http.get("/metrics").text)
          return metrics["etcd_rest_streams", "route=\"/v3/watch\",transport=\"http\""] == 0
            && metrics["etcd_rest_watches"] == 0 ? true : nil
        }
        // Refusals by etcd are distinct from refusals from memory.
        _ = try await eventually("a login that is refused from memory") { () -> Bool? in
          _ = try await http.get("/keys/secret", user: "root:wrong")
          let metrics = try Exposition(try await http.get("/metrics").text)
          guard metrics["etcd_rest_logins_total", "result=\"remembered\""] ?? 0 > 0 else { return nil }
          let refused =
            "rpc=\"etcdserverpb.Auth/Authenticate\",code=\"InvalidArgument\",endpoint=\"127.0.0.1:\(endpoint)\""
          #expect(
            metrics["etcd_rest_logins_total", "result=\"refused\""]
              == metrics["etcd_rest_upstream_calls_total", refused])
          return true
        }
        // A page under a foreign host name learns nothing.
        #expect(try await Self.metrics(gateway.url, asking: "gateway.example.com") == 421)
        #expect(try await http.post("/metrics").status == 405)
        #expect(try await http.request("HEAD", "/metrics").body.isEmpty)
      }
    }
  }

  @Test func anAdminAddressHasMetricsAndProbesAlone() async throws {
    let flags = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--shards", "1"]
    try await withGateway(["http://127.0.0.1:1"], flags + ["--dial-timeout", "100ms"]) { gateway in
      let admin = HTTPClient(try #require(gateway.urls.last))
      #expect(gateway.urls.count == 2)
      #expect(try await Self.metrics(admin.url, asking: "gateway.example.com") == 200)
      #expect(try await gateway.http.get("/metrics").status == 404)
      // An alert can use a state that no connection is in.
      let metrics = try Exposition(try await admin.get("/metrics").text)
      for state in ["idle", "connecting", "securing", "greeting", "ready", "draining"] {
        let labels = "endpoint=\"127.0.0.1:1\",use=\"calls\",state=\"\(state)\""
        let count = try #require(metrics["etcd_rest_upstream_connections", labels], "\(state)")
        #expect(state != "ready" || count == 0)
      }
      for http in [admin, gateway.http] {
        for path in ["/livez", "/"] { #expect(try await http.get(path).status == 200) }
        for path in ["/readyz", "/health"] { #expect(try await http.get(path).status == 503) }
      }
      for path in ["/version", "/keys/a", "/docs", "/openapi.json", "/snapshot"] {
        let answer = try await admin.get(path)
        #expect(answer.status == 404 && answer.message?.contains("--admin-listen") == true, "\(path): \(answer)")
      }
      #expect(try await admin.post("/v3/kv/range", ["key": "YQ=="]).status == 404)
    }
  }

  private static func metrics(_ url: String, asking host: String) async throws -> Int {
    let connection = try await HTTPConnection.connect(to: url)
    try await connection.send("GET /metrics HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
    return try await connection.receive().status
  }

  @Test func anAdminAddressHasNoTLS() async throws {
    for address in ["https://127.0.0.1:0", "proxy+http://127.0.0.1:0"] {
      try await CommandRun.etcdRest(["serve", "--admin-listen", address])
        .expectRefusal(naming: "neither https nor proxy+")
    }
  }

  /// docs/metrics.md lists exactly the existing metrics, each with its type, its labels and what it counts.
  @Test func theDocumentIsTrue() throws {
    let text = try String(contentsOfFile: "\(packageRoot)/docs/metrics.md", encoding: .utf8)
    let rows = text.split(separator: "\n").filter { $0.hasPrefix("| `") }.map { row in
      row.dropFirst(2).dropLast(2).components(separatedBy: " | ")
    }
    let told = rows.map { [$0[0], $0[1], $0[3]] }
    #expect(told == Metric.allCases.map { ["`\($0.rawValue)`", "\($0.type)", "\($0.help)"] })
  }

  /// docs/metrics.md says how many rows requests can make at most.
  @Test func theBoundOfSeriesIsTrue() throws {
    let table = try Gateway.RouteTable()
    let routes = table.all.filter { !Gateway.RouteTable.isOlderPath($0.path) }
    #expect(Set(routes.map(\.path)) == Set(table.templates.dropFirst(2)))
    // For a route: its methods, `OPTIONS`, all others together, and the GET of a WebSocket. For paths without a route
    // all methods, for `*` one.
    let rows = routes.reduce(HTTPMethod.allCases.count + 1) { sum, route in
      sum + HTTPMethod.allCases.count { route.route.takes($0) } + 2 + (route.route.rpc == nil ? 0 : 1)
    }
    let text = try String(contentsOfFile: "\(packageRoot)/docs/metrics.md", encoding: .utf8)
    #expect(text.contains("at most \(rows) rows"), "\(rows)")
  }

  @Test func labelsAreEscaped() throws {
    var samples = MetricSamples()
    samples.add(.buildInfo, ["version": "a\"b\\c\nd"], 1)
    #expect(samples.text().contains(#"etcd_rest_build_info{version="a\"b\\c\nd"} 1"#))
    _ = try Exposition(samples.text())
  }

  /// Escaping is by bytes and scalars: what follows a quotation mark or a line feed may make one character of both.
  @Test(arguments: [
    ("a\r\nb", #"a\\u000d\nb"#), ("a\"\u{301}", "a\\\"\u{301}"), ("a\\\u{301}", "a\\\\\u{301}"),
    ("\0\t\u{7F}\u{85}", #"\\u0000\\u0009\\u007f\\u0085"#), ("ä", "ä"),
  ])
  func labelsAreEscapedByScalars(_ value: String, _ escaped: String) {
    var samples = MetricSamples()
    samples.add(.buildInfo, ["version": value], 1)
    let lines = samples.text().utf8.split(separator: UInt8(ascii: "\n"))
    #expect(lines.contains { $0.elementsEqual("etcd_rest_build_info{version=\"\(escaped)\"} 1".utf8) })
  }
}

/// The text format of Prometheus, read strictly (Prometheus documentation, "Exposition formats").
private struct Exposition {
  private var values: [String: Double] = [:]

  subscript(name: String, labels: String = "") -> Double? { values[labels.isEmpty ? name : "\(name){\(labels)}"] }

  /// - Throws: `TestSupportError` with the invalid line.
  init(_ text: String) throws {
    var (name, type) = ("", "")
    var names: Set<String> = []
    let help = /# HELP ([a-z_]+) [^\n]+/
    let kind = /# TYPE ([a-z_]+) (counter|gauge|histogram)/
    let sample = /(([a-z_]+)(?:\{[a-z_]+="(?:[^"\\]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\]|\\["\\n])*")*\})?) ([-+.0-9e]+)/
    guard text.hasSuffix("\n") else { throw TestSupportError("the last line has no end") }
    for line in text.split(separator: "\n") {
      if let match = line.wholeMatch(of: help) {
        name = String(match.1)
        guard names.insert(name).inserted else { throw TestSupportError("twice: \(line)") }
      } else if let match = line.wholeMatch(of: kind), match.1 == name {
        type = String(match.2)
        guard (type == "counter") == name.hasSuffix("_total") else { throw TestSupportError("\(line)") }
      } else if let match = line.wholeMatch(of: sample), let value = Double(match.3) {
        let suffixes = type == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
        guard suffixes.contains(where: { match.2 == name + $0 }),
          values.updateValue(value, forKey: String(match.1)) == nil
        else { throw TestSupportError("\(line)") }
      } else {
        throw TestSupportError("\(line)")
      }
    }
    try checkHistograms()
  }

  /// The counts of buckets grow with their bounds up to that of all.
  private func checkHistograms() throws {
    var buckets: [String: [(bound: Double, count: Double)]] = [:]
    for (series, count) in values {
      guard let match = series.wholeMatch(of: /(.*)_bucket\{(.*),le="(.*)"\}/) else { continue }
      let bound = match.3 == "+Inf" ? Double.infinity : try #require(Double(match.3))
      buckets["\(match.1)_count{\(match.2)}", default: []].append((bound, count))
    }
    for (series, buckets) in buckets {
      let counts = buckets.sorted { $0.bound < $1.bound }.map(\.count)
      guard counts == counts.sorted(), counts.last == values[series], buckets.contains(where: { $0.bound == .infinity })
      else { throw TestSupportError("\(series): \(counts)") }
    }
  }
}
