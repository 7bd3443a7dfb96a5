import ArgumentParser
import GrpcBridge

/// The flags for etcd's addresses.
struct EndpointOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The addresses of etcd's members, as http://HOST:PORT, https://HOST:PORT, HOST:PORT (with TLS if one of its "
        + "flags is given), unix:///PATH or unixs:///PATH; several are separated by commas. (default: "
        + "http://127.0.0.1:2379)", valueName: "url,..."))
  var endpoints: String?

  @Option(
    help: ArgumentHelp(
      "A file with the endpoints, in place of --endpoints: separated by commas, blanks or line feeds; # begins a "
        + "comment. It is read again on SIGHUP.", valueName: "path"), completion: .file())
  var endpointsFile: String?

  /// - Throws: `ValidationError` with one line that names the fault.
  func source(_ environment: CommandEnvironment) throws -> EndpointSource {
    switch (endpoints ?? environment["endpoints"], endpointsFile ?? environment["endpoints-file"]) {
    case (_?, _?): throw ValidationError("--endpoints and --endpoints-file: give only one of them")
    case (nil, let path?): return .file(path)
    case (let text, nil):
      if endpoints == nil, let file = environment.file(for: "endpoints") { return .settings(file) }
      return .list(text ?? "http://127.0.0.1:2379")
    }
  }
}

/// The place where the endpoints are written.
enum EndpointSource: Sendable {
  case list(String)
  /// The path of a file.
  case file(String)
  /// The file of settings.
  case settings(ConfigurationFile)

  /// - Throws: `ValidationError` with one line that names the fault, and the file.
  func read() throws -> [Endpoint] {
    switch self {
    case .list(let text): return try Self.endpoints(text)
    case .settings(let file):
      guard let setting = file.settings["endpoints"] else {
        throw ValidationError("--config: \(file.path): the setting 'endpoints' was removed")
      }
      do {
        return try Self.endpoints(setting.text)
      } catch let error as ValidationError {
        throw ValidationError("--config: \(file.place(of: setting)): endpoints: \(error.message)")
      }
    case .file(let path):
      let lines = String(decoding: try contents(of: path, for: "endpoints-file"), as: UTF8.self).split(
        whereSeparator: \.isNewline)
      let texts = lines.flatMap { line in
        line.prefix { $0 != "#" }.split { $0 == "," || $0.isWhitespace }
      }
      guard !texts.isEmpty else { throw ValidationError("--endpoints-file: \(path) has no endpoint") }
      do {
        return try texts.map { try Self.endpoint(String($0)) }
      } catch let error as ValidationError {
        throw ValidationError("--endpoints-file: \(path): \(error.message)")
      }
    }
  }

  private static func endpoints(_ list: String) throws -> [Endpoint] {
    try list.split(separator: ",", omittingEmptySubsequences: false).map { part in
      try endpoint(part.filter { $0 != " " })
    }
  }

  private static func endpoint(_ text: String) throws -> Endpoint {
    do {
      return try Endpoint(text)
    } catch {
      throw ValidationError("\(error)")
    }
  }
}
