import EtcdSchema
import HTTPServer
import SwiftProtobuf

/// Makes the operations of etcd's RPCs from their descriptors and comments.
struct RPCDescription {
  let comments: SchemaComments
  /// By their paths.
  private let methods: [String: EtcdSchema.Method]

  init(_ schema: EtcdSchema, comments: SchemaComments) {
    self.comments = comments
    methods = Dictionary(
      uniqueKeysWithValues: schema.methods.flatMap { method in method.httpPaths.map { ($0, method) } })
  }

  /// The statuses of any call. gRPC statuses that etcd never uses are left out.
  private static let statuses = ["400", "401", "403", "413", "415", "429", "431", "500", "501", "502", "503", "504"]

  /// The calls about a lease or a member, for which etcd has a NotFound.
  private static let withNotFound: Set = [
    EtcdRPC.put.path, EtcdRPC.txn.path, EtcdRPC.leaseRevoke.path, EtcdRPC.memberRemove.path, EtcdRPC.memberUpdate.path,
    EtcdRPC.memberPromote.path,
  ]

  /// The operation for one path of an RPC.
  ///
  /// - Parameter components: collects the schemas of the messages.
  func operation(
    _ rpc: RPCRoute, path: String, components: inout SchemaComponents, examples: DocumentExamples
  ) -> DocumentValue {
    guard let method = methods[path] else { preconditionFailure("no descriptor of \(path)") }
    let name = "\(method.service).\(method.name)"
    let isOlderPath = path != method.httpPaths.first
    // The bare names belong to the operations on keys in plain JSON.
    let id = Self.operationID(
      method.name, isPrefixed: isOlderPath || method.service == "etcdserverpb.KV")
    let (summary, rest) = comments.summary(name)
    var operation: DocumentValue = [
      "operationId": .string(id), "tags": [.string(Self.tag(method.service))],
      "summary": .string(isOlderPath ? "\(summary) (older path)" : summary),
      "description": .string(([rest] + notes(rpc, method)).filter { !$0.isEmpty }.joined(separator: "\n\n")),
    ]
    if isOlderPath { operation["deprecated"] = true }
    if !method.isUnary { operation["parameters"] = [.component("parameters", "heartbeat")] }

    let request = components.reference(method.request)
    operation["requestBody"] = [
      "description": .string(method.traits.isClientStreaming ? Self.requests : comments[method.request]),
      // An absent body means an empty message. If a message has fields, no client wants that; and an optional body
      // comes last among the arguments of generated clients, or may be forgotten.
      "required": .bool(method.traits.isClientStreaming || components.hasFields(method.request)),
      "content": ["application/json": examples.media(request, .request, of: id)],
    ]
    var success: DocumentValue = ["description": .string(comments[method.response])]
    let response = components.reference(method.response)
    if method.isUnary {
      success["headers"] = ["Preference-Applied": .component("headers", "Preference-Applied")]
      success["content"] = ["application/json": examples.media(response, .response(200), of: id)]
    } else {
      success["description"] = .string("\(Self.lines)\n\nEach `result`: \(comments[method.response])")
      success["content"] = ["application/json": examples.media(Self.line(response), .response(200), of: id)]
    }
    if let links = OperationLinks.all[id] { success["links"] = links }
    let isMissing = Self.withNotFound.contains(method.grpcPath)
    let errors = CommonComponents.responses(Self.statuses + (isMissing ? ["404"] : []))
    operation["responses"] = (["200": success] as DocumentValue).adding(examples.adding(to: errors, of: id))
    operation["x-grpc-method"] = .string(method.grpcPath)
    return operation
  }

  private func notes(_ rpc: RPCRoute, _ method: EtcdSchema.Method) -> [String] {
    var notes = ["It is one call of `\(method.grpcPath)` over gRPC."]
    if method.traits.isRepeatable { notes[0] += " The gateway repeats it if a member fails." }
    if rpc.waits {
      notes.append("It waits without a limit, unless `Request-Timeout` or `Grpc-Timeout` sets one.")
    }
    return notes
  }

  private static let requests = """
    One or more JSON values, one after the other. All of them are read before any is executed. A WebSocket on the same \
    path takes them one by one.
    """

  private static let lines = """
    A line of JSON for each message, sent at once; empty lines are heartbeats. After the first line an \
    error is a line as well, the last one.
    """

  /// The schema of a line of a stream.
  private static func line(_ result: DocumentValue) -> DocumentValue {
    [
      "type": "object", "description": "A line of the stream: a message, or the error that the stream ends with.",
      "maxProperties": 1, "properties": ["result": result, "error": .schema("StreamError")],
    ]
  }

  /// The name of the method in generated clients: `RangeStream` is `rangeStream`.
  private static func operationID(_ name: String, isPrefixed: Bool) -> String {
    let id = name.prefix(1).lowercased() + name.dropFirst()
    return isPrefixed ? "kv\(name)" : id
  }

  /// The tag of a service: `etcdserverpb.KV` is `KV`.
  static func tag(_ service: String) -> String { String(service.split(separator: ".").last ?? "") }
}
