import ArgumentParser

/// `etcd-rest openapi`.
struct OpenAPI: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "openapi", abstract: "Print the description of the API, an OpenAPI 3.1 document.",
    discussion: "It is what serve answers at /openapi.json and /openapi.yaml.")

  @Option(help: "json or yaml.")
  var format = OpenAPIFormat.json

  func run() throws {
    let document = OpenAPIDocument.make(try RouteTable(), format)
    try document.withUnsafeBytes { bytes throws(CommandFailure) in try write(all: bytes) }
  }
}

extension OpenAPIFormat: ExpressibleByArgument {}
