import ArgumentParser
import ByteBuffers
import EtcdClient
import HTTPServer
import ProtobufWire

/// `etcd-rest del`.
struct Delete: ClientCommand {
  static let configuration = CommandConfiguration(
    commandName: "del", abstract: "Delete a key, or the keys of a range.",
    discussion: "Prints how many keys were deleted. The exit code is 1 if a single key was not found.")

  @OptionGroup(title: "Which keys") var keys: RangeOptions

  @Flag(help: "Also print the deleted keys.")
  var prevKv = false

  @OptionGroup(title: "etcd") var etcd: EndpointOptions
  @OptionGroup(title: "etcd") var identity: IdentityOptions
  @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions
  @OptionGroup var client: ClientOptions

  func run(_ client: EtcdClient) async throws {
    let response = try await client.delete(range: try keys.range(), returnsPrevious: prevKv)
    var output = ByteBuffer()
    if self.client.json {
      output.append("{\"deleted\":")
      output.append(decimal: response.deleted)
      output.append(",\"revision\":")
      output.append(decimal: response.header.revision)
      if prevKv {
        output.append(",\"prev\":[")
        for (index, previous) in response.previous.enumerated() {
          if index > 0 { output.append(",") }
          output.appendJSON(previous)
        }
        output.append("]")
      }
      output.append("}\n")
    } else {
      output.append(decimal: response.deleted)
      output.append("\n")
      for previous in response.previous { output.appendLines(previous) }
    }
    try output.print()
    if keys.isOneKey && response.deleted == 0 { throw CommandFailure("key not found") }
  }
}
