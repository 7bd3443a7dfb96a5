import ArgumentParser
import ByteBuffers
import EtcdClient
import GrpcBridge
import ProtobufWire

/// A command that speaks to etcd itself, with the library's client and its own login.
protocol ClientCommand: AsyncParsableCommand, ClientOwner {
  var etcd: EndpointOptions { get }
  var identity: IdentityOptions { get }
  var tls: UpstreamTLSOptions { get }
  var client: ClientOptions { get }

  /// Executes the command.
  func run(_ client: EtcdClient) async throws
}

extension ClientCommand {
  func run() async throws {
    let environment = CommandEnvironment()
    let configuration = try EtcdClient.Configuration(self, environment)
    do {
      // Not closed: the connections end with the process.
      try await run(EtcdClient(configuration))
    } catch let error as EtcdError {
      throw CommandFailure(error.message)
    }
  }
}

/// The flags of all client commands.
struct ClientOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How long a call to etcd may take, its login included; watches and waits for a lock have no limit. (default: 5s)",
      valueName: "time"), transform: TimeSpan.read)
  var commandTimeout: TimeSpan?

  @Flag(help: "Print JSON, in the form of the gateway's plain resources (docs/plain-json.md).")
  var json = false
}

extension EtcdClient.Configuration {
  /// Reads the flags and the environment.
  ///
  /// - Throws: `ValidationError` with one line that names the flag and its fault.
  fileprivate init(_ command: some ClientCommand, _ environment: CommandEnvironment) throws {
    self.init(endpoints: try command.etcd.source(environment).read().map(\.description))
    let timeout = Duration.milliseconds(
      Int64(clamping: try environment.time(command.client.commandTimeout, "command-timeout", default: 5)))
    dialTimeout = timeout
    requestTimeout = timeout
    waitsForReady = false
    tls = try TLSConfiguration(command.tls, environment)
    // The fault of a file is reported as that of its flag.
    if let tls { _ = try ClientTLS.make(tls, logger: .silent) }
    if let identity = try command.identity.credentials(environment) {
      credentials = .basic(user: identity.user, password: identity.password)
    }
  }
}

/// The flags that select keys.
struct RangeOptions: ParsableArguments {
  @Argument(help: "The key.")
  var key: String

  @Argument(help: "The end of a range that begins with KEY: the key after its last one.")
  var rangeEnd: String?

  @Flag(help: "All keys that begin with KEY; all keys if KEY is empty.")
  var prefix = false

  @Flag(help: "KEY and all keys after it.")
  var fromKey = false

  /// Whether they select one key, not a range.
  var isOneKey: Bool { !prefix && !fromKey && rangeEnd == nil }

  /// - Throws: `ValidationError` if the flags contradict each other.
  func range() throws -> KeyRange {
    guard [prefix, fromKey, rangeEnd != nil].count(where: \.self) <= 1 else {
      throw ValidationError("--prefix, --from-key and a second key: give only one of them")
    }
    if prefix { return .prefix(Bytes(key)) }
    if fromKey { return .from(Bytes(key)) }
    guard !key.isEmpty else { throw ValidationError("the key is empty; for all keys, give '' --prefix") }
    return rangeEnd.map { .from(Bytes(key), upTo: Bytes($0)) } ?? .key(Bytes(key))
  }
}

/// The ID of a lease on the command line: hexadecimal, as in etcdctl.
struct LeaseArgument: ExpressibleByArgument, Sendable {
  let id: LeaseID

  init?(argument: String) {
    guard argument.first != "+", let bits = UInt64(argument, radix: 16), bits != 0 else { return nil }
    id = LeaseID(Int64(bitPattern: bits))
  }
}

extension TimeSpan {
  /// A lease's time to live.
  ///
  /// - Throws: `ValidationError` if it is less than a second.
  func ttl() throws -> Duration {
    guard milliseconds >= 1000 else { throw ValidationError("the time to live must be at least 1s") }
    return .seconds(Int64(clamping: (milliseconds + 999) / 1000))
  }
}

// MARK: - Output

extension KeyValueFields {
  /// Makes it from a key of the client library.
  init(_ keyValue: KeyValue) {
    self.init(
      key: keyValue.key, value: keyValue.value, createRevision: keyValue.createRevision,
      modRevision: keyValue.modRevision, version: keyValue.version, lease: keyValue.lease?.rawValue ?? 0)
  }
}

extension ByteBuffer {
  /// Appends a key and its value, one on each line, as etcdctl does.
  mutating func appendLines(_ keyValue: KeyValue, hasKey: Bool = true, hasValue: Bool = true) {
    if hasKey {
      append(keyValue.key)
      append("\n")
    }
    if hasValue {
      append(keyValue.value)
      append("\n")
    }
  }

  /// Appends a key in the gateway's JSON.
  mutating func appendJSON(_ keyValue: KeyValue, hasValue: Bool = true) {
    var fields = KeyValueFields(keyValue)
    fields.appendJSON(to: &self, hasValue: hasValue)
  }

  /// Appends the ID of a lease as in JSON: a decimal number in a string.
  mutating func appendJSON(_ lease: LeaseID) {
    append("\"")
    append(decimal: lease.rawValue)
    append("\"")
  }

  /// Writes it to standard output.
  ///
  /// - Throws: ``CommandFailure``
  borrowing func print() throws(CommandFailure) {
    try withUnsafeBytes { bytes throws(CommandFailure) in try write(all: bytes) }
  }
}
