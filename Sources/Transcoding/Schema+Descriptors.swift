// The only file that knows SwiftProtobuf: everything else uses the definitions made here.
package import SwiftProtobuf

extension Schema {
  /// Compiles the tables of a descriptor set.
  ///
  /// Includes messages of `proto3` files outside the package `google.protobuf`: well-known types have JSON forms of
  /// their own, which are not needed here.
  ///
  /// - Parameter rules: which requests to refuse even if they fit the messages.
  /// - Throws: `SchemaError` for a field of floating point, map or group type, a type that is not in the set, a message
  ///   of more than 64 fields, or a rule about an unknown message or field.
  package init(_ descriptors: Google_Protobuf_FileDescriptorSet, rules: Rules = Rules()) throws {
    var collector = Collector()
    for file in descriptors.file where file.syntax == "proto3" && file.package != "google.protobuf" {
      for message in file.messageType { try collector.collect(message, in: file.package) }
      for definition in file.enumType { collector.collect(definition, in: file.package) }
    }
    try self.init(messages: collector.messages, enums: collector.enums, rules: rules)
  }
}

private struct Collector {
  var messages: [Schema.MessageDefinition] = []
  var enums: [Schema.EnumDefinition] = []

  mutating func collect(_ message: Google_Protobuf_DescriptorProto, in scope: String) throws {
    let name = scope.isEmpty ? message.name : "\(scope).\(message.name)"
    let fields = try message.field.map { field in
      guard let kind = FieldKind(field.type) else {
        throw SchemaError(description: "\(name).\(field.name): fields of this type are not supported: \(field.type)")
      }
      return Schema.FieldDefinition(
        name: field.name, jsonName: field.jsonName.isEmpty ? field.name : field.jsonName, number: Int(field.number),
        kind: kind, isRepeated: field.label == .repeated,
        oneof: field.hasOneofIndex ? Int(field.oneofIndex) : nil,
        typeName: String(field.typeName.drop { $0 == "." }))
    }
    messages.append(.init(name: name, fields: fields))
    for nested in message.nestedType {
      guard !nested.options.mapEntry else { throw SchemaError(description: "\(name): maps are not supported") }
      try collect(nested, in: name)
    }
    for nested in message.enumType { collect(nested, in: name) }
  }

  mutating func collect(_ definition: Google_Protobuf_EnumDescriptorProto, in scope: String) {
    let name = scope.isEmpty ? definition.name : "\(scope).\(definition.name)"
    enums.append(.init(name: name, values: definition.value.map { ($0.name, $0.number) }))
  }
}

extension FieldKind {
  fileprivate init?(_ type: Google_Protobuf_FieldDescriptorProto.TypeEnum) {
    switch type {
    case .bool: self = .bool
    case .int32: self = .int32
    case .int64: self = .int64
    case .uint32: self = .uint32
    case .uint64: self = .uint64
    case .sint32: self = .sint32
    case .sint64: self = .sint64
    case .fixed32: self = .fixed32
    case .fixed64: self = .fixed64
    case .sfixed32: self = .sfixed32
    case .sfixed64: self = .sfixed64
    case .enum: self = .enumeration
    case .string: self = .string
    case .bytes: self = .bytes
    case .message: self = .message
    case .double, .float, .group: return nil
    }
  }
}
