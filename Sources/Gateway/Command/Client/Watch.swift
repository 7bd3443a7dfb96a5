import ArgumentParser
import ByteBuffers
import EtcdClient
import HTTPServer
import ProtobufWire

/// `etcd-rest watch`.
struct Watch: ClientCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the changes of a key, or of the keys of a range, until it is interrupted.",
    discussion: """
      Prints PUT or DELETE, the key and the value, a line each; with --json a line for each change, as GET /changes \
      has them. It goes on at another member when its own fails; nothing is missed, and nothing comes twice.
      """)

  @OptionGroup(title: "Which keys") var keys: RangeOptions

  @Option(
    help: ArgumentHelp("Begin with the changes of this revision; 0 for changes from now on.", valueName: "revision"))
  var rev: Int64 = 0

  @Flag(help: "Also print each previous key and value.")
  var prevKv = false

  @OptionGroup(title: "etcd") var etcd: EndpointOptions
  @OptionGroup(title: "etcd") var identity: IdentityOptions
  @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions
  @OptionGroup var client: ClientOptions

  func run(_ client: EtcdClient) async throws {
    guard rev >= 0 else { throw ValidationError("--rev must not be negative") }
    let watch = client.watch(range: try keys.range(), from: rev, prevKv ? .returnsPrevious : [])
    for try await batch in watch.batches {
      var output = ByteBuffer()
      if batch.isCreation && self.client.json {
        output.append("{\"type\":\"progress\",\"revision\":")
        output.append(decimal: rev == 0 ? batch.header.revision : rev - 1)
        output.append("}\n")
      }
      for event in batch.events { append(event, to: &output) }
      try output.print()
    }
  }

  private func append(_ event: WatchEvent, to output: inout ByteBuffer) {
    guard client.json else {
      output.append(event.kind == .put ? "PUT\n" : "DELETE\n")
      if let previous = event.previous { output.appendLines(previous) }
      return output.appendLines(event.keyValue)
    }
    let fields = KeyValueFields(event.keyValue)
    if event.kind == .put {
      output.append("{\"type\":\"put\",")
      fields.appendMembers(to: &output)
    } else {
      output.append("{\"type\":\"delete\",")
      fields.appendDeletion(to: &output)
    }
    if let previous = event.previous {
      output.append(",\"prev\":")
      output.appendJSON(previous)
    }
    output.append("}\n")
  }
}
