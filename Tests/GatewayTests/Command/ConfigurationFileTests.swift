import EtcdSchema
import Foundation
import TestSupport
import Testing

@testable import Gateway

/// Settings in a file (`--config`), and `etcd-rest config`.
@Suite(.timeLimit(.minutes(10))) struct ConfigurationFileTests {
  private func withFile<Value>(_ text: String, _ body: (String) async throws -> Value) async throws -> Value {
    try await withTemporaryDirectory { folder in
      let path = "\(folder)/etcd-rest.yaml"
      try text.write(toFile: path, atomically: true, encoding: .utf8)
      return try await body(path)
    }
  }

  @Test(
    arguments: [
      ("", [:]), ("# nothing\n", [:]), ("---\na: 1\n...\n", ["a": "1"]), ("a: 1\nb: 2m\n", ["a": "1", "b": "2m"]),
      ("a: [x, \"y z\"]", ["a": "x,y z"]), ("a:\n  - x\n  - y\n", ["a": "x,y"]),
      ("{a: 'it''s', b: \"\"}", ["a": "it's", "b": ""]),
      ("a: on", ["a": "on"]), ("\u{FEFF}a: 1", ["a": "1"]),
    ] as [(String, [String: String])])
  func whatAFileSays(_ text: String, _ settings: [String: String]) async throws {
    try await withFile(text) { path in
      let file = try ConfigurationFile(path, flags: ["a", "b"])
      #expect(file.settings.mapValues(\.text) == settings)
    }
  }

  @Test(
    arguments: [
      ("a", ":1: expected settings"), ("- a", ":1: expected settings"), ("a: 1\na: 2", ":2: 'a' occurs twice"),
      ("a: 1\nmax-stream: 2", ":2: unknown setting 'max-stream'; did you mean 'max-streams'?"),
      ("nonsense: 1", ":1: unknown setting 'nonsense'"), ("a:", ":1: 'a' has no value"),
      ("a: ~", ":1: 'a' has no value"), ("a: null", ":1: 'a' has no value"), ("a: []", ":1: 'a' is an empty list"),
      ("a: {b: 1}", ":1: 'a': expected a value or a list"), ("a: [[1]]", "list of values"),
      ("a: [\"1,2\"]", "without commas"),
      ("a: &x 1", ":1: anchors"), ("a: 1\nb: *a", ":2: "), ("a: !!int 1", ":1: anchors and tags"),
      ("a: 1\n---\na: 2", "second YAML document"), ("a: \"1", "not valid YAML"), ("\ta: 1", ":1: not valid YAML"),
      ("[a]: 1", ":1: expected the name of a setting"),
    ] as [(String, String)])
  func whatIsWrongIsToldWithItsLine(_ text: String, _ fault: String) async throws { try await expect(fault, in: text) }

  /// libyaml takes minutes for lists within lists.
  @Test func whatIsTooDeepOrTooLargeIsRefused() async throws {
    try await expect(":1: expected a value or a list of values", in: String(repeating: "[", count: 100_000))
    try await expect("more than the maximum of 1048576", in: "a: " + String(repeating: "x", count: 1 << 20))
  }

  private func expect(_ fault: String, in text: String) async throws {
    try await withFile(text) { path in
      let error = #expect(throws: (any Error).self) { try ConfigurationFile(path, flags: ["a", "b", "max-streams"]) }
      #expect("\(error.map { "\($0)" } ?? "")".contains(fault), "\(String(describing: error))")
    }
  }

  /// The command line takes precedence over the environment, and that over the file.
  @Test func theMoreParticularComesFirst() async throws {
    try await withFile("listen: 127.0.0.1:0\nlog-level: debug\nendpoints: [http://127.0.0.1:1]\nmax-streams: 7\n") {
      path in
      func shown(_ flags: [String], _ environment: [String: String] = [:]) async throws -> String {
        let run = try await CommandRun.etcdRest(["config", "show", "--config", path] + flags, environment: environment)
        #expect(run.exit == .code(0), "\(run.errorOutput)")
        return run.output
      }
      let file = try await shown([])
      #expect(file.contains("max-streams: 7  # \(path):4\n") && file.contains("# max-watches: 1000\n"), "\(file)")
      let environment = try await shown([], ["ETCD_REST_MAX_STREAMS": "8"])
      #expect(environment.contains("max-streams: 8  # ETCD_REST_MAX_STREAMS\n"), "\(environment)")
      let flags = try await shown(["--max-streams", "9", "--user=root:secret"], ["ETCD_REST_MAX_STREAMS": "8"])
      #expect(flags.contains("max-streams: 9  # the command line\n") && !flags.contains("secret"), "\(flags)")
      #expect(flags.contains("user: \"root:***\"  # the command line\n"), "\(flags)")
    }
  }

  @Test func aFileIsChecked() async throws {
    try await withFile("max-streams: 7\nrequest-timeout: 5s\n") { path in
      let good = try await CommandRun.etcdRest("config", "check", path)
      #expect(good.exit == .code(0) && good.output == "\(path) is valid\n", "\(good.errorOutput)")
      try "max-streams: 7\nrequest-timeout: soon\n".write(toFile: path, atomically: true, encoding: .utf8)
      let fault = "\(path):2: 'soon' is not a valid value"
      try await CommandRun.etcdRest("config", "check", path).expectRefusal(naming: fault)
      try await CommandRun.etcdRest("serve", "--config", path).expectRefusal(naming: fault)
      try await CommandRun.etcdRest("config", "check", "/no/such/file").expectRefusal(
        naming: "/no/such/file cannot be read: No such file or directory")
    }
  }

  @Test func theEndpointsInItAreReadAgainOnSIGHUP() async throws {
    let peers = try (0..<2).map { _ in try ScriptedPeer { _ in .message([]) } }
    func calls(_ peer: ScriptedPeer) -> Int { peer.record.streams(of: EtcdRPC.range.path).count }
    try await withFile("endpoints: \(peers[0].endpoint)\nmax-streams: 7\n") { path in
      try await withGateway([], ["--config", path]) { gateway in
        let request: JSON = ["key": "YQ=="]
        expectStatus(200, try await gateway.http.post("/v3/kv/range", request))
        #expect(calls(peers[0]) == 1)
        func write(_ text: String) throws { try text.write(toFile: path, atomically: true, encoding: .utf8) }

        for (broken, word) in [("max-stream: 7\n", "did you mean"), ("max-streams: 7\n", "'endpoints' was removed")] {
          try write(broken)
          gateway.process.signal(SIGHUP)
          _ = try await eventually("a word about \(broken)") { gateway.log.contains(word) ? true : nil }
          expectStatus(200, try await gateway.http.post("/v3/kv/range", request))
        }
        #expect(calls(peers[1]) == 0)
        try write("endpoints:\n- \(peers[1].endpoint)\nmax-streams: 8\n")
        gateway.process.signal(SIGHUP)
        _ = try await eventually("calls at the other") {
          expectStatus(200, try await gateway.http.post("/v3/kv/range", request))
          return calls(peers[1]) > 0 ? true : nil
        }
        try await gateway.expectLogged(
          "after a restart changed=endpoints endpoints=\(peers[1].endpoint) settings=max-streams")
      }
    }
  }
}
