import ArgumentParser
import ByteBuffers
import EtcdClient
import Glibc
import HTTPServer
import ProtobufWire

/// `etcd-rest put`.
struct Put: ClientCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a key.",
    discussion: """
      Without VALUE the value is read from standard input, byte for byte. Write a value that begins with a hyphen after \
      --: etcd-rest put KEY -- -5
      """)

  @Argument(help: "The key.")
  var key: String

  @Argument(help: "The value.")
  var value: String?

  @Option(help: ArgumentHelp("The lease to attach the key to, in hexadecimal.", valueName: "id"))
  var lease: LeaseArgument?

  @Flag(help: "Also print the previous key and value.")
  var prevKv = false

  @OptionGroup(title: "etcd") var etcd: EndpointOptions
  @OptionGroup(title: "etcd") var identity: IdentityOptions
  @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions
  @OptionGroup var client: ClientOptions

  func run(_ client: EtcdClient) async throws {
    guard !key.isEmpty else { throw ValidationError("the key is empty") }
    let value = try value.map { Bytes($0) } ?? Self.standardInput(upTo: client.configuration.maxSendBytes)
    let response = try await client.put(Bytes(key), value, lease: lease?.id, prevKv ? .returnsPrevious : [])
    var output = ByteBuffer()
    if self.client.json {
      output.append("{\"revision\":")
      output.append(decimal: response.header.revision)
      if prevKv {
        output.append(",\"prev\":")
        if let previous = response.previous { output.appendJSON(previous) } else { output.append("null") }
      }
      output.append("}\n")
    } else {
      output.append("OK\n")
      if let previous = response.previous { output.appendLines(previous) }
    }
    try output.print()
  }

  /// All of standard input.
  ///
  /// - Throws: ``CommandFailure`` if that is more than can be sent, or cannot be read.
  private static func standardInput(upTo most: Int) throws -> Bytes {
    var bytes: [UInt8] = []
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)
    defer { buffer.deallocate() }
    while bytes.count <= most {
      let count = read(STDIN_FILENO, buffer.baseAddress, buffer.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw CommandFailure("standard input: \(String(cString: strerror(errno)))") }
      guard count > 0 else { return Bytes(bytes) }
      bytes += buffer.prefix(count)
    }
    throw CommandFailure("the value on standard input is larger than \(most) bytes")
  }
}
