/// Parts of the schemas of plain JSON.
enum PlainSchemas {
  /// A key in a request.
  static let key: DocumentValue = [
    "key": ["type": "string", "minLength": 1, "description": "The key, as text."],
    "key_base64": base64("The key, if it is not UTF-8.", minLength: 1),
  ]

  /// Keys in a request: one, or a range.
  static let range: DocumentValue = key.adding([
    "prefix": ["type": "string", "description": "The keys that begin with this text."],
    "prefix_base64": base64("The same as bytes."),
    "from": ["type": "string", "description": "The first key of the range, which need not exist."],
    "from_base64": base64("The same as bytes."),
    "to": ["type": "string", "minLength": 1, "description": "The end of the range: the key after its last one."],
    "to_base64": base64("The same as bytes.", minLength: 1),
    "all": ["type": "boolean", "description": "Confirms that the request selects all keys of the store."],
  ])

  /// Bytes in base64 (RFC 4648, section 4). OpenAPI 3.1 has `contentEncoding` for that, but client generators only know
  /// `format`, for which they use the language's type for bytes. No pattern: with one they generate code that takes the
  /// bytes for text.
  static let bytes: DocumentValue = ["type": "string", "format": "byte", "contentEncoding": "base64"]

  static func base64(_ description: String, minLength: Int = 0) -> DocumentValue {
    var schema = bytes
    schema["description"] = .string(description)
    if minLength > 0 { schema["minLength"] = .integer(minLength) }
    return schema
  }

  /// Any number of 64 bits except 0.
  static let leaseID = "-?(\(NumberPattern.upTo(UInt64(Int64.max))))|-9223372036854775808"

  /// The ID of a lease. It has more digits than JavaScript's numbers.
  static func lease(_ description: String, orNone: Bool = false) -> DocumentValue {
    [
      "type": "string", "pattern": .string("^(\(orNone ? "0|" : "")\(leaseID))$"),
      "description": .string(description),
    ]
  }

  static func ttl(_ description: String) -> DocumentValue {
    [
      "type": "string", "pattern": .string(NumberPattern.time(9_000_000_000)),
      "description": .string("\(description) Such as `60s`, `5m` or `1h`, from 1s on."),
    ]
  }

  /// A number that is never negative.
  static func number(_ description: String) -> DocumentValue {
    ["type": "integer", "format": "int64", "minimum": 0, "description": .string(description)]
  }

  /// One of the words of a parameter.
  ///
  /// - Parameter names: the names in generated code.
  static func word(of parameter: QueryParameter, names: [String], _ description: String) -> DocumentValue {
    guard case .choice(let words) = parameter.kind else { return [:] }
    return [
      "type": "string", "enum": .array(words.map { .string($0) }),
      "x-enum-varnames": .array(names.map { .string($0) }), "description": .string(description),
    ]
  }
}

extension DocumentExamples {
  /// The responses of an operation of plain JSON.
  ///
  /// - Parameters:
  ///   - id: the operation's name.
  ///   - meaning: the meaning of its success.
  ///   - schema: the schema of its successful answer.
  ///   - others: its errors besides those of all operations.
  func plainResponses(
    of id: String, _ meaning: String, _ schema: String, besides others: [String]
  ) -> DocumentValue {
    let ok: DocumentValue = [
      "description": .string(meaning),
      "headers": ["X-Etcd-Revision": .component("headers", "X-Etcd-Revision")],
      "content": ["application/json": media(.schema(schema), .response(200), of: id)],
    ]
    let errors = CommonComponents.responses(
      ["400", "401", "403", "413", "415", "429", "431", "500", "501", "502", "503", "504"] + others)
    return (["200": ok] as DocumentValue).adding(adding(to: errors, of: id))
  }
}
