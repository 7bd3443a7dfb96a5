/// Pieces of the schemas of plain JSON.
enum PlainSchemas {
  /// A key that a request names.
  static let key: DocumentValue = [
    "key": ["type": "string", "minLength": 1, "description": "The key, as text."],
    "key_base64": base64("The key, if it is not UTF-8.", minLength: 1),
  ]

  /// Keys that a request names: one, or a range.
  static let range: DocumentValue = key.adding([
    "prefix": ["type": "string", "description": "The keys that begin with this text."],
    "prefix_base64": base64("The same as bytes."),
    "from": ["type": "string", "description": "The first key of the range, which need not exist."],
    "from_base64": base64("The same as bytes."),
    "to": ["type": "string", "minLength": 1, "description": "The end of the range: the key after its last one."],
    "to_base64": base64("The same as bytes.", minLength: 1),
    "all": ["type": "boolean", "description": "Confirms that the request selects all keys of the store."],
  ])

  /// Bytes in base64 (RFC 4648, section 4). OpenAPI 3.1 says so with `contentEncoding`, but generators of clients know
  /// `format` alone: with it, bytes are the type of bytes that the language has. No pattern: of that they make code
  /// that takes the bytes for text.
  static let bytes: DocumentValue = ["type": "string", "format": "byte", "contentEncoding": "base64"]

  static func base64(_ description: String, minLength: Int = 0) -> DocumentValue {
    var schema = bytes
    schema["description"] = .string(description)
    if minLength > 0 { schema["minLength"] = .integer(minLength) }
    return schema
  }

  /// Any number of 64 bits but 0.
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

  /// One of the words that a parameter may be.
  ///
  /// - Parameter names: what generated code calls them.
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
  ///   - meaning: what its success means.
  ///   - schema: what it answers with then.
  ///   - others: the errors that it has besides those of all operations.
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
