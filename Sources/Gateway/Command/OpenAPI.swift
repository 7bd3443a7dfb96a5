import ArgumentParser

/// `etcd-rest openapi`.
struct OpenAPI: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "openapi", abstract: "Print the description of the API, an OpenAPI document.",
    discussion: """
      It is what serve answers at /openapi.json, /openapi.yaml and /openapi-3.0.json, but for the address of the server.
      """)

  @Option(help: "json or yaml, for OpenAPI 3.1; json-3.0 for 3.0.")
  var format = OpenAPIFormat.json

  func run() throws {
    let document = OpenAPIDocument.make(try RouteTable(), format, isServed: false)
    try document.withUnsafeBytes { bytes throws(CommandFailure) in try write(all: bytes) }
  }
}

extension OpenAPIFormat: ExpressibleByArgument {}
