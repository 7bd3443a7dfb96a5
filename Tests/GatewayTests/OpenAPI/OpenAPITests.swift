import EtcdSchema
import Foundation
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10)))
struct OpenAPITests {
  @Test(arguments: [("json", "/openapi.json"), ("yaml", "/openapi.yaml"), ("json-3.0", "/openapi-3.0.json")])
  func theDescriptionIsServed(_ format: String, _ path: String) async throws {
    let command = try await CommandRun.etcdRest("openapi", "--format", format)
    #expect(command.exit == .code(0), "\(command.errorOutput)")
    // It describes the gateway: no etcd is needed.
    try await withGateway(["http://127.0.0.1:1"]) { gateway in
      let response = try await gateway.http.get(path)
      #expect(response.status == 200)
      #expect(response[header: "Content-Type"] == "application/\(format.prefix(4))")
      #expect(response[header: "Cache-Control"] == "no-cache")
      #expect(withoutServers(response.text) == withoutServers(command.output))
      let (relative, absolute) = format == "yaml" ? (".", "http://{address}") : ("\".\"", "\"http://{address}\"")
      #expect(servers(response.text).contains(relative) && !servers(response.text).contains("{address}"))
      #expect(servers(command.output).contains(absolute))
      let tag = try #require(response[header: "ETag"])
      #expect(try await gateway.http.get(path)[header: "ETag"] == tag)

      let head = try await gateway.http.request("HEAD", path)
      #expect(head.status == 200 && head.body.isEmpty)
      #expect(head[header: "Content-Length"] == "\(response.body.count)" && head[header: "ETag"] == tag)

      for known in [tag, "W/\(tag)", "\"1\", \(tag)", "*"] {
        let answer = try await gateway.http.get(path, headers: [("If-None-Match", known)])
        #expect(answer.status == 304 && answer.body.isEmpty && answer[header: "ETag"] == tag, "\(known)")
      }
      #expect(try await gateway.http.get(path, headers: [("If-None-Match", "\"1\"")]).status == 200)
      let wrong = try await gateway.http.get(path, headers: [("If-None-Match", "1")])
      #expect(wrong.status == 400 && wrong.code == 3, "\(wrong)")
      let post = try await gateway.http.post(path)
      #expect(post.status == 405 && post[header: "Allow"] == "GET, HEAD, OPTIONS", "\(post)")
    }
  }

  /// The member `servers` of a document in any form, as text.
  private func servers(_ document: String) -> Substring {
    guard let start = document.range(of: #"\n?"?servers"?:"#, options: .regularExpression)?.lowerBound,
      let end = document[start...].range(of: "security")?.lowerBound
    else { return "" }
    return document[start..<end]
  }

  private func withoutServers(_ document: String) -> String {
    document.replacingOccurrences(of: servers(document), with: "")
  }

  @Test func theCommandKnowsTheFormats() async throws {
    let standard = try await CommandRun.etcdRest("openapi")
    #expect(standard.output == (try await CommandRun.etcdRest("openapi", "--format", "json")).output)
    try await CommandRun.etcdRest("openapi", "--format", "xml").expectRefusal(naming: "--format")
  }

  @Test func everyRouteIsDescribed() async throws {
    let output = try await CommandRun.etcdRest("openapi").output
    let paths = try #require(try JSON(parsing: Array(output.utf8))["paths"]?.object)
    let rpcs = EtcdSchema().methods.flatMap(\.httpPaths)
    for path in rpcs { #expect(paths[path]?["post"] != nil, "\(path)") }
    let others = [
      "/keys", "/keys/{key}", "/changes", "/txn", "/leases", "/leases/{id}", "/leases/{id}/keepalive", "/locks/{name}",
      "/locks/{name}/keepalive", "/elections/{name}", "/elections/{name}/keepalive", "/elections/{name}/changes",
      "/snapshot",
      "/version", "/health", "/status", "/livez", "/readyz", "/openapi.json", "/openapi.yaml",
      "/openapi-3.0.json", "/metrics",
    ]
    #expect(Set(paths.keys) == Set(rpcs + others))
    let key = try #require(paths["/keys/{key}"]?.object)
    #expect(Set(key.keys) == ["get", "head", "put", "delete"])
    #expect(Set(try #require(paths["/keys"]?.object).keys) == ["get", "post", "put", "delete"])
  }

  @Test func itIsValidInAllForms() async throws {
    try await withGateway(["http://127.0.0.1:1"]) { gateway in
      try await run("python", ["validate.py", gateway.url])
    }
  }

  @Test(arguments: EtcdVersion.ofUpstream.filter { $0 == .v3_5_1 })
  func theExamplesAreWhatEtcdAnswers(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { _, gateway in
      try await run("python", ["examples.py", gateway.url, "\(packageRoot)/openapi/examples.json"])
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aGeneratedClientPutsGetsAndWatches(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      try await etcd.enableAuth(rootPassword: "rootpw")
      try await run("python", ["client.py", gateway.url, "root", "rootpw"])
    }
  }

  @Test func requestsThatAreMadeUpGetWhatIsDescribed() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      try await etcd.enableAuth(rootPassword: "rootpw")
      try await run("schemathesis", ["--config-file", "schemathesis.toml", "run", "\(gateway.url)/openapi.json"])
    }
  }

  /// Runs a tool of `.build-python` in `Tests/OpenAPI`, and expects that it finds nothing wrong.
  private func run(_ tool: String, _ arguments: [String]) async throws {
    let program = "\(packageRoot)/.build-python/bin/\(tool)"
    guard FileManager.default.isExecutableFile(atPath: program) else {
      throw TestSupportError("no \(program): run scripts/install-python-tools first")
    }
    let run = try await CommandRun.run(
      "/bin/sh", ["-c", "cd '\(packageRoot)/Tests/OpenAPI' && exec \"$0\" \"$@\"", program] + arguments,
      environment: ["no_proxy": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1"], within: suiteLimit * 4)
    #expect(run.exit == .code(0), "\(run.output.suffix(20_000))\(run.errorOutput.suffix(20_000))")
  }
}
