import ByteBuffers
import EtcdSchema
import ProtobufWire
import SwiftProtobuf

/// The formats of the API's description.
enum OpenAPIFormat: String, CaseIterable, Sendable {
  case json
  case yaml
  /// OpenAPI 3.0.3.
  case olderJSON = "json-3.0"

  /// Its path.
  var path: String {
    switch self {
    case .json, .yaml: "/openapi.\(rawValue)"
    case .olderJSON: "/openapi-3.0.json"
    }
  }

  /// RFC 9512 defines YAML's.
  var mediaType: StaticString { self == .yaml ? "application/yaml" : "application/json" }
}

/// The description of everything that the gateway serves, in OpenAPI 3.1.1.
///
/// It is made on request, from the routes that serve requests and their descriptors: that takes some tens of
/// milliseconds and, for that time, megabytes.
struct OpenAPIDocument {
  private let schema = EtcdSchema()
  private let comments: SchemaComments
  private let examples = DocumentExamples()
  private var components: SchemaComponents
  private let routes: RouteTable
  private let isServed: Bool

  /// - Parameter isServed: whether a gateway serves it; then addresses in it are relative to the gateway's.
  static func make(_ routes: RouteTable, _ format: OpenAPIFormat, isServed: Bool) -> ByteBuffer {
    var maker = OpenAPIDocument(routes, isServed: isServed)
    let document = maker.document()
    var output = ByteBuffer(capacity: 1 << 19)
    switch format {
    case .json: document.writeJSON(to: &output)
    case .olderJSON: document.asOpenAPI30.writeJSON(to: &output)
    case .yaml: document.writeYAML(to: &output)
    }
    if format != .yaml { output.append("\n") }
    return output
  }

  private init(_ routes: RouteTable, isServed: Bool) {
    self.routes = routes
    self.isServed = isServed
    comments = SchemaComments(schema.descriptors)
    components = SchemaComponents(schema.descriptors, comments: comments)
  }

  private mutating func document() -> DocumentValue {
    let paths = paths()
    return [
      "openapi": "3.1.1",
      "info": [
        "title": "etcd-rest", "summary": "A REST/JSON gateway for etcd v3", "version": .string(EtcdRest.version),
        "description": .string(Self.introduction),
        "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
      ],
      "servers": [isServed ? Self.servingGateway : Self.anyGateway],
      "security": CommonComponents.security,
      "tags": tags(),
      "paths": paths,
      "components": [
        "schemas": schemas(), "responses": CommonComponents.responses, "parameters": CommonComponents.parameters,
        "headers": CommonComponents.headers.adding(KeyDescriptions.headers),
        "securitySchemes": CommonComponents.securitySchemes,
      ],
    ]
  }

  private static let servingGateway: DocumentValue = [
    "url": ".", "description": "The gateway that serves this document, also behind a path of a proxy.",
  ]

  /// A file does not say where it comes from: tools that read it need an address.
  private static let anyGateway: DocumentValue = [
    "url": "http://{address}", "description": "A gateway.",
    "variables": [
      "address": ["default": "127.0.0.1:8379", "description": "The gateway's host and port (`--listen`)."]
    ],
  ]

  private static let introduction = """
    etcd's v3 API over HTTP/1.1 and JSON.

    Keys, changes, transactions, leases, locks and elections are plain JSON at `/keys`, `/changes`, `/txn`, `/leases`, \
    `/locks` and `/elections`: no base64. `/keys/KEY` takes and returns a value as raw bytes.

    Every path below `/v3` is one RPC of etcd: the request message in JSON as the body of a `POST`, the response \
    message in JSON as the answer. Keys and values are base64, numbers of 64 bits are strings (as JavaScript's numbers \
    have only 53), and fields that are zero or empty are left out. Requests may have plain numbers too, and base64 \
    without padding or in the URL alphabet. The older prefixes `/v3beta` and `/v3alpha` lead to the same calls.

    Users of etcd log in with HTTP's Basic authentication, or send a token. Every error is JSON with a `message` and a \
    gRPC `code`, whatever its status. Every answer has an `X-Request-Id`, which the gateway's logs have, too: that of \
    the request, if it has one.

    Any request may have these headers:

    - `Request-Timeout`: how long the call may take, in seconds, up to the gateway's limit (`--max-request-timeout`, \
    10 minutes). A call that takes longer gets 504.
    - `Grpc-Timeout`: the same as gRPC writes it, up to 8 digits and one of H, M, S, m, u, n. It overrides \
    `Request-Timeout`.
    - `Prefer: handling=strict` (RFC 7240), below `/v3`: fields that the schema does not know, unknown names of enums \
    and anything after the body's JSON are errors. Otherwise they are ignored, as by etcd itself.
    """

  private func tags() -> DocumentValue {
    let services = schema.descriptors.file.flatMap { file in file.service.map { "\(file.package).\($0.name)" } }
    let ofServices = services.map { service -> DocumentValue in
      ["name": .string(RPCDescription.tag(service)), "description": .string(comments[service])]
    }
    let keys: DocumentValue = [
      "name": "Keys",
      "description": """
      Keys as resources, without base64: the rest of the path is the key, percent-encoded, and the body its value. The \
      JSON is plainer than etcd's own: revisions and counts are numbers, and text is text.
      """,
    ]
    let resources: [DocumentValue] = [
      ["name": "Changes", "description": "Changes of keys: as a stream, or one answer at a time."],
      ["name": "Transactions", "description": "Several operations on keys as one, with conditions."],
      ["name": "Leases", "description": "Times to live that keys are attached to."],
      ["name": "Locks", "description": "Locks that one client at a time holds, with a lease."],
      ["name": "Elections", "description": "Elections of a leader, which holds a lease and proclaims a value."],
    ]
    let own: [DocumentValue] = [
      ["name": "Health", "description": "The state of etcd and of the gateway. These need no credentials."],
      ["name": "Description", "description": "This document."],
    ]
    return .array([keys] + resources + ofServices + own)
  }

  private mutating func paths() -> DocumentValue {
    let rpcs = RPCDescription(schema, comments: comments)
    let plain = PlainDescriptions(examples: examples)
    let keys = KeyDescriptions(examples: examples)
    let leases = LeaseDescriptions(examples: examples)
    let order = Dictionary(
      uniqueKeysWithValues: schema.methods.flatMap(\.httpPaths).enumerated().map { ($1, $0) })
    func place(_ path: String, _ route: RouteTable.Route) -> (Int, Int, String) {
      switch route {
      case .keys, .varying(.key): (0, 0, path)
      case .changes: (0, 1, path)
      case .transaction: (0, 2, path)
      case .leases, .varying(.lease), .varying(.leaseRenewal): (0, 3, path)
      case .varying(.lock), .varying(.lockRenewal): (0, 4, path)
      case .varying(.election), .varying(.electionRenewal), .varying(.electionChanges): (0, 5, path)
      case .rpc, .stream: (1, order[path] ?? 0, path)
      case .probe, .snapshot, .description, .docs, .metrics: (2, 0, path)
      }
    }
    // Resources first, RPCs as in the .proto files, then the rest by name.
    let served = routes.all.filter { !RouteTable.isOlderPath($0.path) }
      .sorted { place($0.path, $0.route) < place($1.path, $1.route) }
    var paths: DocumentValue = [:]
    for (path, route) in served {
      switch route {
      case .rpc(let rpc), .stream(let rpc):
        paths[path] = ["post": rpcs.operation(rpc, path: path, components: &components, examples: examples)]
      case .probe(let probe): if let operation = plain.operation(probe) { paths[path] = ["get": operation] }
      case .snapshot: paths[path] = ["get": plain.snapshot]
      case .metrics: paths[path] = ["get": plain.metrics]
      case .keys: paths[path] = keys.ofRanges
      case .changes: paths[path] = keys.ofChanges
      case .transaction: paths[path] = TxnDescription(examples: examples).item
      case .leases: paths[path] = leases.ofAll
      case .varying(.lease): paths[path] = leases.ofOne
      case .varying(.leaseRenewal): paths[path] = leases.ofRenewal
      case .varying(.key): paths[path] = keys.ofOneKey
      case .varying(let route): paths[path] = QueueDescriptions(examples: examples).item(route)
      case .description(let format): paths[path] = ["get": plain.operation(format)]
      case .docs: break
      }
    }
    return .object(
      paths.members.map { path in
        // Parameters of the path are listed in its operations, before theirs: in the order of a client's arguments.
        let ofPath = path.value["parameters"]?.elements ?? []
        let operations = path.value.members.filter { $0.name != "parameters" }.map { member in
          var operation = member.value.withRequestIDs
          if !ofPath.isEmpty { operation["parameters"] = .array(ofPath + (operation["parameters"]?.elements ?? [])) }
          return DocumentValue.Member(name: member.name, value: operation)
        }
        return .init(name: path.name, value: .object(operations))
      })
  }

  private func schemas() -> DocumentValue {
    var schemas: DocumentValue = [:]
    for (name, schema) in CommonComponents.schemas + PlainDescriptions.schemas + KeyDescriptions.schemas
      + TxnDescription.schemas + LeaseDescriptions.schemas + QueueDescriptions.schemas
    {
      schemas[name] = schema
    }
    for (name, schema) in components.schemas.sorted(by: { $0.key < $1.key }) {
      precondition(schemas[name] == nil, "two schemas are called \(name)")
      schemas[name] = schema
    }
    return schemas
  }
}
