/// Converts the description to OpenAPI 3.0.3, for tools that know nothing newer. Its schemas are a dialect of their
/// own, older than the JSON Schema of 3.1 (OpenAPI 3.0.3, "Schema Object").
extension DocumentValue {
  /// This OpenAPI 3.1 document as one of 3.0.3. What 3.0.3 cannot express is left out; nothing else changes.
  var asOpenAPI30: DocumentValue {
    var document = withOlderSchemas
    document["openapi"] = "3.0.3"
    document["info"]?["summary"] = nil
    document["info"]?["license"]?["identifier"] = nil
    return document
  }

  /// For a value that is no schema: the schemas within it are converted.
  private var withOlderSchemas: DocumentValue {
    switch self {
    case .array(let elements): .array(elements.map(\.withOlderSchemas))
    case .object(let members):
      .object(
        members.map { member in
          switch member.name {
          // Values of any shape, whose members may have any name.
          case "example", "examples", "x-requestBody": member
          case "schema": Member(name: member.name, value: member.value.olderSchema)
          case "schemas": Member(name: member.name, value: member.value.mapMembers(\.olderSchema))
          default: Member(name: member.name, value: member.value.withOlderSchemas)
          }
        })
    default: self
    }
  }

  private var olderSchema: DocumentValue {
    guard case .object(let members) = self else { return self }
    // In 3.0.3 a reference must be alone.
    if let reference = self["$ref"], members.count > 1 {
      var schema = self
      schema["$ref"] = nil
      let referred: DocumentValue = ["allOf": [["$ref": reference]]]
      return referred.adding(schema.olderSchema)
    }
    var schema: DocumentValue = [:]
    for member in members {
      switch member.name {
      case "const": schema["enum"] = [member.value]
      case "exclusiveMinimum":
        schema["minimum"] = member.value
        schema["exclusiveMinimum"] = true
      case "exclusiveMaximum":
        schema["maximum"] = member.value
        schema["exclusiveMaximum"] = true
      case "contentEncoding": break  // `format` says it, too
      case "examples": schema["example"] = member.value.elements.first
      case "dependentRequired": break
      case "properties": schema["properties"] = member.value.mapMembers(\.olderSchema)
      case "items", "additionalProperties": schema[member.name] = member.value.olderSchema
      case "anyOf" where member.value.elements.contains(Self.nullSchema):
        schema["anyOf"] = .array(member.value.elements.filter { $0 != Self.nullSchema }.map(\.olderSchema))
        schema["nullable"] = true
      case "allOf", "anyOf", "oneOf": schema[member.name] = .array(member.value.elements.map(\.olderSchema))
      default: schema[member.name] = member.value
      }
    }
    return schema
  }

  /// The schema of null, which 3.0.3 does not have.
  private static let nullSchema: DocumentValue = ["type": "null"]

  private func mapMembers(_ transform: (DocumentValue) -> DocumentValue) -> DocumentValue {
    .object(members.map { Member(name: $0.name, value: transform($0.value)) })
  }
}
