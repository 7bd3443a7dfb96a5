import Foundation
import TestSupport
import Testing

/// Lines of documentation that a reader pastes one by one, unchanged except for the address.
@Suite(.timeLimit(.minutes(5)))
struct PastedCommandTests {
  /// The lines of README.md that no other test runs: each gets the status that the text says.
  @Test(arguments: EtcdVersion.allCases)
  func linesOfTheReadmeAreAnswered(_ version: EtcdVersion) async throws {
    let lines = try lines(of: "README.md") { $0.hasPrefix("curl ") && !$0.hasPrefix("curl -f") }
    #expect(lines.count == 19)
    try await withAuth(version) { _, gateway in
      for line in lines {
        let command = line.replacing("http://127.0.0.1:8379", with: gateway.url)
        let run = try await CommandRun.shell("no_proxy=127.0.0.1 \(command) -sS -o /dev/null -w '%{http_code}'")
        let expected = line.contains("root:wrong") ? "401" : line.contains("\"kee\"") ? "400" : "200"
        #expect(run.exit == .code(0) && run.output == expected, "\(line): \(run)")
      }
    }
  }

  /// The lines of docs/command-line.md that end by themselves and do not use a lease from elsewhere.
  @Test(arguments: EtcdVersion.allCases)
  func linesOfTheCommandLineSucceed(_ version: EtcdVersion) async throws {
    let lines = try lines(of: "docs/command-line.md") { line in
      line.hasPrefix("etcd-rest ") && !line.contains("interrupted") && !line.contains("32695410dcc0ca06")
        && !line.contains("/etc/")
    }
    #expect(lines.count == 8)
    try await withEtcd(version) { etcd in
      try await withTemporaryDirectory { directory in
        try FileManager.default.createSymbolicLink(
          atPath: "\(directory)/etcd-rest", withDestinationPath: try GatewayProcess.program)
        try Data([0x89, 0x50, 0x4e, 0x47, 0, 0xff]).write(to: URL(fileURLWithPath: "\(directory)/logo.png"))
        let surroundings = """
          export PATH='\(directory)':"$PATH" ETCD_REST_ENDPOINTS='\(etcd.url)' no_proxy=127.0.0.1
          cd '\(directory)'
          printf '#!/bin/sh\\necho "saved $1"\\n' > backup.sh
          chmod +x backup.sh

          """
        var outputs: [String] = []
        for line in lines {
          let run = try await CommandRun.shell(surroundings + line)
          #expect(run.exit == .code(0), "\(line): \(run)")
          outputs.append(run.output)
        }
        #expect(outputs.contains("app/color\nblue\n") && outputs.contains("blue\n"), "\(outputs)")
        #expect(outputs.last?.hasSuffix("saved --full\n") == true, "\(outputs)")
      }
    }
  }

  private func lines(of page: String, where isMeant: (String) -> Bool) throws -> [String] {
    let text = try String(contentsOfFile: "\(packageRoot)/\(page)", encoding: .utf8)
    return text.split(separator: "\n").map(String.init).filter(isMeant)
  }
}
