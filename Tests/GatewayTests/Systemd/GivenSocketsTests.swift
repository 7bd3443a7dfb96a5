import Foundation
import Glibc
import TestSupport
import Testing

@testable import Gateway
@testable import HTTPServer

/// Sockets that systemd has opened (sd_listen_fds(3)).
@Suite struct GivenSocketsTests {
  private static func environment(_ names: String?, count: String, process: Int32 = getpid()) -> (String) -> String? {
    { name in
      switch name {
      case "LISTEN_PID": "\(process)"
      case "LISTEN_FDS": count
      case "LISTEN_FDNAMES": names
      default: nil
      }
    }
  }

  /// Nothing in the environment does harm.
  @Test(
    arguments: [
      ("a", "0"), ("a", "-1"), ("a", "99999999999"), ("a", "2147483647"), ("a", ""), (":::", "3"), ("", "1"),
      (nil, "1"),
    ] as [(String?, String)])
  func aStrangeEnvironmentGivesNothing(_ names: String?, _ count: String) throws {
    let given = GivenSockets(environment: Self.environment(names, count: count))
    #expect(throws: ListenFailure.self) {
      try Listeners([.init(.given(name: "a"))], shards: 1, given: given)
    }
  }

  @Test func theEnvironmentOfAParentIsNotOurs() throws {
    let given = GivenSockets(environment: Self.environment("a", count: "1", process: 1))
    let failure = #expect(throws: ListenFailure.self) {
      try Listeners([.init(.given(name: "a"))], shards: 1, given: given)
    }
    #expect(
      failure?.description
        == "cannot listen on fd://a: systemd has passed no sockets: fd:// needs a socket unit")
  }

  @Test(
    arguments: [
      ("fd://http", "fd://http", false), ("https+fd://web.1", "https+fd://web.1", true),
      ("proxy+https+fd://x", "proxy+https+fd://x", true), ("fd://", nil, false), ("fd://a:b", nil, false),
      ("fd://a b", nil, false), ("https+fd://", nil, false),
    ] as [(String, String?, Bool)])
  func addressesAreRead(_ text: String, _ expected: String?, _ isTLS: Bool) {
    let address = ListenAddress(text[...])
    #expect(address?.description == expected)
    if let address { #expect(address.isTLS == isTLS) }
  }

  /// A socket for both kinds of address, as `ListenStream=8379` makes, tells IPv4 clients apart from those of IPv6.
  @Test func aSocketForBothKindsTellsClientsApart() async throws {
    let start = """
      import os, socket, sys
      both = socket.socket(socket.AF_INET6)
      both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
      both.bind(("::", 0)); both.listen()
      os.dup2(both.detach(), 10); os.dup2(10, 3, inheritable=True)
      os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
      os.execv(sys.argv[1], sys.argv[1:])
      """
    let program = try GatewayProcess.program
    let serve = ["serve", "--endpoints", "http://127.0.0.1:1", "--shards", "1", "--listen", "fd://http"]
    let command = ["/usr/bin/python3", "-c", start, program] + serve
    try await withServing(command + ["--max-connections-per-address", "1"]) { _, http in
      let port = try #require(http.url.split(separator: ":").last)
      let (old, new) = ("http://127.0.0.1:\(port)", "http://[::1]:\(port)")
      var kept: [HTTPConnection] = []
      for url in [old, new] {
        let connection = try await HTTPConnection.connect(to: url)
        #expect(try await connection.get("/livez").status == 200, "\(url)")
        kept.append(connection)
      }
      for url in [old, new] { #expect(try await HTTPConnection.connect(to: url).receive().status == 429, "\(url)") }
      for connection in kept { #expect(try await connection.get("/livez").status == 200) }
    }
    // By default an address may have two of these, but this machine's own have no limit.
    try await withServing(command + ["--max-connections", "4"]) { _, http in
      let port = try #require(http.url.split(separator: ":").last)
      var kept: [HTTPConnection] = []
      for _ in 0..<3 {
        let connection = try await HTTPConnection.connect(to: "http://127.0.0.1:\(port)")
        #expect(try await connection.get("/livez").status == 200)
        kept.append(connection)
      }
      for connection in kept { #expect(try await connection.get("/livez").status == 200) }
    }
  }

  /// A program is started as by systemd: with two sockets of a name, one of TCP and one of a file, and one that does
  /// not accept connections.
  @Test func givenSocketsAreServed() async throws {
    try await withTemporaryDirectory { folder in
      let start = """
        import os, socket, sys
        tcp, unix, other = socket.socket(), socket.socket(socket.AF_UNIX), socket.socket(type=socket.SOCK_DGRAM)
        tcp.bind(("127.0.0.1", 0)); tcp.listen()
        unix.bind(sys.argv[1]); unix.listen()
        for number, each in enumerate([tcp, unix, other]): os.dup2(each.detach(), 10 + number)
        for number in range(3): os.dup2(10 + number, 3 + number, inheritable=True)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="3", LISTEN_FDNAMES="http:http:other")
        os.execv(sys.argv[2], sys.argv[2:])
        """
      let program = try GatewayProcess.program
      let serve = ["serve", "--endpoints", "http://127.0.0.1:1", "--shards", "2", "--listen"]
      func begin(_ listen: String) async throws -> TestSupport.ChildProcess {
        try await TestSupport.ChildProcess.start(
          "/usr/bin/python3", ["-c", start, "\(folder)/socket-\(UUID())", program] + serve + [listen],
          environment: [:], output: "\(folder)/output", error: "\(folder)/log")
      }
      let gateway = try await begin("fd://http")
      do {
        let line = try await eventually("a line saying where it serves") { () -> String? in
          gateway.output.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            .first { $0.contains(" is serving on ") }.map { String($0) }
        }
        let urls = line.components(separatedBy: " is serving on ")[1].components(separatedBy: ", ")
        #expect(urls.count == 2 && urls[0].hasPrefix("http://127.0.0.1:") && urls[1].hasPrefix("unix:///"), "\(line)")
        for _ in 0..<8 { #expect(try await HTTPClient(urls[0]).get("/livez").status == 200) }
        gateway.signal(SIGTERM)
        #expect(try await gateway.exit() == .code(0))
        // The file belongs to systemd.
        #expect(FileManager.default.fileExists(atPath: String(urls[1].dropFirst("unix://".count))))
      } catch {
        await gateway.killAndWait()
        throw error
      }
      for (listen, reason) in [
        ("fd://other", "descriptor 5 is not a listening stream socket"),
        ("fd://web", "systemd has passed no socket of this name, only: http, other"),
      ] {
        let refused = try await begin(listen)
        #expect(try await refused.exit() == .code(1))
        #expect(refused.errorOutput.contains("cannot listen on \(listen): \(reason)"), "\(refused.errorOutput)")
      }
    }
  }
}
