import ArgumentParser
import ByteBuffers
import EtcdClient
import HTTPServer
import ProtobufWire

/// `etcd-rest get`.
struct Get: ClientCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read a key, or the keys of a range.",
    discussion: """
      Prints each key and its value, a line each; with --json the object of a single key, or a line for each key of a \
      range, all as they were at one revision. The exit code is 1 if a single key does not exist.
      """)

  @OptionGroup(title: "Which keys") var keys: RangeOptions

  @Option(help: ArgumentHelp("The maximum of keys to print; 0 for all.", valueName: "number"))
  var limit: Int64 = 0

  @Option(help: ArgumentHelp("Print the keys as they were at this revision; 0 for the latest.", valueName: "revision"))
  var rev: Int64 = 0

  @Flag(help: "Print only keys.")
  var keysOnly = false

  @Flag(help: "Print only values.")
  var printValueOnly = false

  @OptionGroup(title: "etcd") var etcd: EndpointOptions
  @OptionGroup(title: "etcd") var identity: IdentityOptions
  @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions
  @OptionGroup var client: ClientOptions

  /// So many keys are requested at once.
  private static let page: Int64 = 1000

  func run(_ client: EtcdClient) async throws {
    var range = try keys.range()
    guard limit >= 0, rev >= 0 else { throw ValidationError("--limit and --rev must not be negative") }
    guard !(keysOnly && printValueOnly) else {
      throw ValidationError("--keys-only and --print-value-only: give only one of them")
    }
    var options = GetOptions(revision: rev, keysOnly: keysOnly)
    var rest = limit == 0 ? Int64.max : limit
    while true {
      options.limit = min(rest, Self.page)
      let response = try await client.get(range: range, options)
      if keys.isOneKey && response.keyValues.isEmpty { throw CommandFailure("key not found") }
      try print(response.keyValues)
      rest -= Int64(response.keyValues.count)
      guard response.more, rest > 0, let last = response.keyValues.last else { return }
      // The further pages are read at the first one's revision.
      if options.revision == 0 { options.revision = response.header.revision }
      range = KeyRange(start: Bytes(last.key.array + [0]), end: range.end)
    }
  }

  private func print(_ keyValues: [KeyValue]) throws {
    var output = ByteBuffer()
    for keyValue in keyValues {
      if client.json {
        output.appendJSON(keyValue, hasValue: !keysOnly)
        output.append("\n")
      } else {
        output.appendLines(keyValue, hasKey: !printValueOnly, hasValue: !keysOnly)
      }
    }
    try output.print()
  }
}
