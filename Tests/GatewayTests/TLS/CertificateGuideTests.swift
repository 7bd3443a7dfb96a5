import Foundation
import TestSupport
import Testing

/// The commands of docs/certificates.md, unchanged except for the ports.
@Suite(.timeLimit(.minutes(5)))
struct CertificateGuideTests {
  @Test(arguments: EtcdVersion.allCases)
  func itMakesWhatIsNeeded(_ version: EtcdVersion) async throws {
    let page = try String(contentsOfFile: "\(packageRoot)/docs/certificates.md", encoding: .utf8)
    let commands = page.matches(of: /```sh\n((?:.|\n)*?)```/).map { String($0.output.1) }
    let output = try #require(page.firstMatch(of: /```text\n((?:.|\n)*?)\n```/)?.output.1)
    #expect(commands.count == 2)
    let ports = try LoopbackPort.pick(2)
    let script = commands.joined()
      .replacing("127.0.0.1:2379", with: "127.0.0.1:\(ports[0])").replacing(
        "127.0.0.1:8379", with: "127.0.0.1:\(ports[1])")
    try await withTemporaryDirectory { directory in
      let programs = "\(directory)/bin"
      try FileManager.default.createDirectory(atPath: programs, withIntermediateDirectories: true)
      for (name, program) in [("etcd", try version.program("etcd")), ("etcd-rest", try GatewayProcess.program)] {
        try FileManager.default.createSymbolicLink(atPath: "\(programs)/\(name)", withDestinationPath: program)
      }
      // No process must outlive it, whatever fails.
      let surroundings = """
        trap 'kill $(jobs -p) 2> /dev/null; wait' EXIT
        export PATH='\(programs)':"$PATH" no_proxy=127.0.0.1
        cd '\(directory)'

        """
      let run = try await CommandRun.run("/bin/bash", ["-e", "-c", surroundings + script])
      let logs = ["etcd.log", "etcd-rest.log"].map {
        (try? String(contentsOfFile: "\(directory)/\($0)", encoding: .utf8)) ?? ""
      }
      #expect(run.exit == .code(0), "\(run.errorOutput)\(logs)")
      #expect(run.output == output, "\(run.errorOutput)\(logs)")
      let written = try String(contentsOfFile: "\(directory)/written.json", encoding: .utf8)
      #expect(written.hasPrefix(#"{"revision":"#), "\(written)")
      for name in ["ca", "etcd", "gateway", "client"] {
        let subject = try await CommandRun.run(
          "/bin/sh", ["-c", "openssl x509 -in '\(directory)/\(name).pem' -noout -subject -nameopt multiline"])
        #expect(subject.output.contains("example") && !subject.output.contains("commonName"), "\(subject.output)")
      }
    }
  }
}
