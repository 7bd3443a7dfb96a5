import ArgumentParser
import Glibc

/// `etcd-rest openapi`.
struct OpenAPI: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "openapi", abstract: "Print the description of the API, an OpenAPI 3.1 document.",
    discussion: "It is what serve answers at /openapi.json and /openapi.yaml.")

  @Option(help: "json or yaml.")
  var format = OpenAPIFormat.json

  func run() throws {
    let document = OpenAPIDocument.make(try RouteTable(), format)
    try document.withUnsafeBytes { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = write(STDOUT_FILENO, UnsafeRawBufferPointer(rebasing: rest).baseAddress!, rest.count)
        if count < 0 && errno == EINTR { continue }
        guard count >= 0 else { throw ValidationError("standard output: \(String(cString: strerror(errno)))") }
        rest = rest.dropFirst(count)
      }
    }
  }
}

extension OpenAPIFormat: ExpressibleByArgument {}
