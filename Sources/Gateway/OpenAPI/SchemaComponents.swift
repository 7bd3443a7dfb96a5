import EtcdSchema
import SwiftProtobuf

/// The component schemas of etcd's messages, made from their descriptors on demand.
///
/// A message is an object whose fields are all optional: zero or empty ones are left out. A oneof is not a `oneOf`, for
/// which generators make clumsy types, but a rule beside ordinary properties: `maxProperties` if all are members of it,
/// otherwise `not` any two of them.
struct SchemaComponents {
  private let comments: SchemaComments
  private var messages: [String: Google_Protobuf_DescriptorProto] = [:]
  private var enums: [String: Google_Protobuf_EnumDescriptorProto] = [:]
  /// The schemas made so far, by the names of the components.
  private(set) var schemas: [String: DocumentValue] = [:]
  /// The full names of the messages, by the names of the components.
  private var owners: [String: String] = [:]

  init(_ descriptors: Google_Protobuf_FileDescriptorSet, comments: SchemaComments) {
    self.comments = comments
    for file in descriptors.file {
      for message in file.messageType { add(message, in: file.package) }
      for definition in file.enumType { enums["\(file.package).\(definition.name)"] = definition }
    }
  }

  private mutating func add(_ message: Google_Protobuf_DescriptorProto, in scope: String) {
    let name = "\(scope).\(message.name)"
    messages[name] = message
    for nested in message.nestedType { add(nested, in: name) }
    for nested in message.enumType { enums["\(name).\(nested.name)"] = nested }
  }

  /// A reference to the schema of a message or enum, by its full name.
  mutating func reference(_ name: String) -> DocumentValue {
    // The package is left out: `etcdserverpb.RangeRequest.SortOrder` is `RangeRequestSortOrder`.
    let component = name.split(separator: ".").dropFirst().joined()
    if let owner = owners[component] {
      precondition(owner == name, "\(owner) and \(name) would be the same component")
    } else {
      owners[component] = name
      schemas[component] = messages[name].map { object($0, name) } ?? enums[name].map { enumeration($0, name) }
      precondition(schemas[component] != nil, "there is no \(name) in the schema")
    }
    return .schema(component)
  }

  /// Whether a message with that name can have any content.
  func hasFields(_ name: String) -> Bool { messages[name].map { !$0.field.isEmpty } ?? false }

  private static func requiredFields(_ message: Google_Protobuf_DescriptorProto) -> [String] {
    message.options.Etcdrest_requires.filter { $0.ifField.isEmpty }.map(\.field)
  }

  private mutating func object(_ message: Google_Protobuf_DescriptorProto, _ name: String) -> DocumentValue {
    var schema: DocumentValue = ["type": "object", "description": .string(comments[name])]
    var properties: DocumentValue = [:]
    let required = Self.requiredFields(message)
    for field in message.field { properties[field.name] = property(field, of: name, requiredFields: required) }
    if !properties.members.isEmpty { schema["properties"] = properties }
    if !required.isEmpty { schema["required"] = .array(required.map { .string($0) }) }
    for (index, oneof) in message.oneofDecl.enumerated() {
      let fields = message.field.filter { $0.hasOneofIndex && $0.oneofIndex == index }.map(\.name)
      let list = fields.map { "`\($0)`" }.joined(separator: ", ")
      let rule = "At most one of \(list) may be set"
      schema["description"] = .string("\(comments[name])\n\n\(rule): \(comments["\(name).\(oneof.name)"])")
      // In other cases the schema would need `not`, which client generators do not understand.
      if fields.count == message.field.count { schema["maxProperties"] = 1 }
    }
    return schema
  }

  private mutating func property(
    _ field: Google_Protobuf_FieldDescriptorProto, of message: String, requiredFields: [String]
  ) -> DocumentValue {
    let since = field.options.Etcdrest_since
    let comment = comments["\(message).\(field.name)"]
    let description: DocumentValue = .string(since.isEmpty ? comment : "\(comment) Since etcd \(since).")
    var schema = value(field)
    if field.options.Etcdrest_rule.memberURL { schema["pattern"] = .string(Self.memberURL) }
    if field.label == .repeated {
      schema = ["type": "array", "items": schema]
      if requiredFields.contains(field.name) { schema["minItems"] = 1 }
    }
    schema["description"] = description
    if !since.isEmpty { schema["x-since"] = .string(since) }
    if field.options.deprecated { schema["deprecated"] = true }
    return schema
  }

  private mutating func value(_ field: Google_Protobuf_FieldDescriptorProto) -> DocumentValue {
    switch field.type {
    case .bool: ["type": "boolean"]
    case .string: ["type": "string"]
    case .bytes: PlainSchemas.bytes
    case .int64, .sint64, .sfixed64: Self.int64
    case .uint64, .fixed64: Self.uint64
    case .int32, .sint32, .sfixed32: ["type": "integer", "format": "int32"]
    case .uint32, .fixed32: ["type": "integer", "minimum": 0, "maximum": 4_294_967_295]
    case .message, .enum: reference(String(field.typeName.drop { $0 == "." }))
    // Transcoding does not support these either.
    case .double, .float, .group: preconditionFailure("fields of this type have no JSON here: \(field.name)")
    }
  }

  private func enumeration(_ definition: Google_Protobuf_EnumDescriptorProto, _ name: String) -> DocumentValue {
    let values = definition.value.map { value in
      let since = value.options.Etcdrest_valueSince
      let comment = comments["\(name).\(value.name)"]
      return "- `\(value.name)`: \(comment)\(since.isEmpty ? "" : " Since etcd \(since).")"
    }
    var schema: DocumentValue = [
      "type": "string",
      "description": .string("\(comments[name])\n\n\(values.joined(separator: "\n"))"),
      "enum": .array(definition.value.map { .string($0.name) }),
    ]
    let others = enums.filter { $0.key != name }.values.flatMap(\.value).map(\.name)
    if definition.value.contains(where: { others.contains($0.name) }) {
      // Constants of generated Go are all in one scope.
      schema["x-enum-varnames"] = .array(
        definition.value.map { .string("\(Self.constant(definition.name))_\($0.name)") })
    }
    return schema
  }

  /// `SortOrder` is `SORT_ORDER`.
  private static func constant(_ name: String) -> String {
    name.reduce(into: "") { $0 += ($1.isUppercase && !$0.isEmpty ? "_" : "") + $1.uppercased() }
  }

  /// The URLs that the rule `member_url` of the `.proto` files accepts.
  private static let memberURL = #"^(https?|unixs?)://([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"#

  /// A string, because JavaScript's numbers have only 53 bits.
  private static let int64: DocumentValue = [
    "type": "string", "format": "int64", "pattern": "^(0|-?[1-9][0-9]{0,18})$",
  ]

  private static let uint64: DocumentValue = [
    "type": "string", "format": "uint64", "pattern": "^(0|[1-9][0-9]{0,19})$",
  ]
}
