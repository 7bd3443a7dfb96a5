import GrpcBridge
import HTTPServer

/// The operations of `/keys`, of the paths of keys, and of `/changes`, made from the tables that requests are checked
/// against.
///
/// In OpenAPI a path and a method have one operation, while here the query or `Accept` may select among several: these
/// are merged under the name of the first one. Changes are described at their own path only.
struct KeyDescriptions {
  let examples: DocumentExamples

  var ofRanges: DocumentValue { item(ofOneKey: false) }

  var ofOneKey: DocumentValue {
    var item: DocumentValue = [
      "parameters": [
        [
          "name": "key", "in": "path", "required": true,
          "description": """
          The key: all of the path after `/keys/`, percent-decoded byte for byte. A slash may be written as it is or \
          as `%2F`, as most clients write it; a key may have any bytes, also `%00` and bytes that are not UTF-8.
          """,
          "schema": ["type": "string", "minLength": 1], "example": "app/config",
        ]
      ]
    ]
    item = item.adding(self.item(ofOneKey: true))
    item["head"] = head
    return item
  }

  private func item(ofOneKey isOfOneKey: Bool) -> DocumentValue {
    var item: DocumentValue = [:]
    for (method, name) in [(HTTPMethod.get, "get"), (.post, "post"), (.put, "put"), (.delete, "delete")]
    where !isOfOneKey || method != .post {
      let operations = KeyOperation.allCases.filter { !$0.isOfChanges && $0.isMeant(byOneKey: isOfOneKey, method) }
      let ofParameter = KeyOperation.allCases.first { !isOfOneKey && $0.isMeant(byOneKey: true, method) }
      item[name] = operation(operations, ofParameter)
    }
    return item
  }

  var ofChanges: DocumentValue {
    var operation = self.operation(
      [.watchKeys, .awaitKeys, .watchKey, .awaitKey], id: "getChanges", takesKey: true)
    operation["tags"] = ["Changes"]
    operation["summary"] = "Get changes of keys"
    operation["description"] = """
      Changes of one `key`, or of the keys of a range; of all keys if there is neither.

      With `wait` and `since` the answer is JSON: the first changes after that revision, as soon as there are any, or \
      none at the end of the time. Its `revision` is the next request's `since`.

      Without `wait` it is a stream until the client disconnects: JSON documents, each a line, or Server-Sent \
      Events if the request accepts `text/event-stream`.

      `/keys` and `/keys/{key}` do the same with `wait`, or `watch=true`.
      """
    return ["get": operation]
  }

  /// - Parameters:
  ///   - own: the operations of one path and method.
  ///   - ofParameter: the operation on the one key that the parameter `key` names, if there is one.
  private func operation(_ own: [KeyOperation], _ ofParameter: KeyOperation? = nil) -> DocumentValue {
    let operations = own + [ofParameter].compactMap(\.self)
    let first = operations[0]
    let id = own.isEmpty ? "\(first.rawValue)OfQuery" : first.rawValue
    let others = operations.dropFirst().map { other in
      let condition = other == ofParameter ? "with `key`" : Self.condition(other)
      // With a key in the query, the bare value is not available.
      let text =
        other == .getKey
        ? "Answers with the key as JSON, the members of `Key`, whatever the request accepts." : other.text
      return "**\(other.summary)** (\(condition)): \(text)"
    }
    var operation = self.operation(operations, id: id, takesKey: ofParameter != nil, requiresKey: own.isEmpty)
    operation["description"] = .string(([first.text] + others).joined(separator: "\n\n"))
    return operation
  }

  private func operation(
    _ operations: [KeyOperation], id: String, takesKey: Bool = false, requiresKey: Bool = false
  ) -> DocumentValue {
    let first = operations[0]
    var operation: DocumentValue = [
      "operationId": .string(id), "tags": ["Keys"],
      "summary": .string(first.summary),
      "description": .string(first.text),
      "parameters": .array(
        (takesKey ? [keyParameter(isRequired: requiresKey, of: id)] : []) + parameters(operations, of: id)),
    ]
    switch first {
    case .putKey:
      operation["requestBody"] = [
        "description": "What to put.", "required": true,
        "content": [
          "application/json": examples.media(.schema("KeyPut"), .request, of: id),
          "\(MediaType.lines.name)": examples.media(
            [
              "type": "string",
              "description": "Lines, each a `KeyPut` without `ttl`, `prev` and conditions, or a `Key` of an export.",
            ], .request, of: id, type: "\(MediaType.lines.name)"),
        ],
      ]
    case .putValue:
      operation["requestBody"] = [
        "description": "The value, any bytes; `Content-Type` does not matter.", "required": true,
        "content": [
          "application/octet-stream": examples.media(
            ["type": "string", "format": "binary"], .request, of: id, type: "application/octet-stream")
        ],
      ]
    default: break
    }
    operation["responses"] = responses(operations, of: id)
    return operation
  }

  /// How a request selects an operation that is not the first of its path and method.
  private static func condition(_ operation: KeyOperation) -> String {
    switch operation {
    case .watchKey, .watchKeys: "with `watch=true`"
    case .awaitKey, .awaitKeys: "with `wait` and `since`"
    case .exportKeys: "with `Accept: application/x-ndjson`"
    case .importKeys: "with `Content-Type: application/x-ndjson`"
    case .getKey, .putValue, .putKey, .deleteKey, .listKeys, .deleteKeys: "otherwise"
    }
  }

  /// Like ``KeyOperation/getKey``, without a body.
  private var head: DocumentValue {
    var head = operation([.getKey])
    head["operationId"] = "headKey"
    head["summary"] = "Get a key's version without its value"
    head["description"] = "The headers are those that `GET` would answer with."
    var responses: DocumentValue = [:]
    for response in head["responses"]?.members ?? [] {
      let value = response.value["$ref"] == nil ? response.value : Self.resolved(response.value)
      responses[response.name] = ["description": value["description"] ?? ""]
      if let headers = value["headers"] { responses[response.name]?["headers"] = headers }
    }
    head["responses"] = responses
    return head
  }

  private static func resolved(_ reference: DocumentValue) -> DocumentValue {
    let name = reference["$ref"]?.string?.split(separator: "/").last ?? ""
    return CommonComponents.responses[String(name)] ?? [:]
  }

  // MARK: - Parameters

  private func parameters(_ operations: [KeyOperation], of id: String) -> [DocumentValue] {
    let wanted = operations.flatMap(\.parameters).filter { $0 != .watch }
    let query = QueryParameter.allCases.filter(wanted.contains).map { parameter($0, of: id) }
    let conditions = Set(operations.flatMap(\.conditions).map(\.description)).sorted().map { name -> DocumentValue in
      [
        "name": .string(name), "in": "header",
        "description": .string(
          name == "If-Match"
            ? "The entity tag that the key must have, or `*`: the key must exist."
            : "An entity tag that the key must not have, or `*`: the key must not exist (RFC 9110, section 13.1)."),
        "schema": ["type": "string"], "example": name == "If-Match" ? "\"42\"" : "*",
      ]
    }
    return query + conditions
  }

  private func keyParameter(isRequired: Bool, of id: String) -> DocumentValue {
    var key = parameter(.key, of: id)
    if isRequired { key["required"] = true }
    return key
  }

  private func parameter(_ parameter: QueryParameter, of id: String) -> DocumentValue {
    // In the text, because generated clients send all defaults, and not every combination is valid.
    let standard = parameter.standard.map { " It is `\($0)` by default." } ?? ""
    var value: DocumentValue = [
      "name": .string(parameter.rawValue), "in": "query", "description": .string(parameter.text + standard),
      "schema": schema(parameter),
    ]
    let values = examples.values(of: parameter.rawValue, in: "query", of: id)
    if !values.members.isEmpty { value["examples"] = values }
    return value
  }

  private func schema(_ parameter: QueryParameter) -> DocumentValue {
    switch parameter.kind {
    case .bytes, .token: ["type": "string"]
    case .flag: ["type": "boolean"]
    case .choice(let words): ["type": "string", "enum": .array(words.map { .string($0) })]
    // It has more digits than JavaScript's numbers.
    case .integer where parameter == .lease:
      ["type": "string", "format": "int64", "pattern": "^(0|-?[1-9][0-9]{0,18})$"]
    case .integer(let range):
      [
        "type": "integer", "format": "int64", "minimum": .integer(Int(range.lowerBound)),
        "maximum": .integer(Int(range.upperBound)),
      ]
    case .time(let range):
      ["type": "string", "pattern": .string(NumberPattern.time(range.upperBound / 1000))]
    }
  }

  // MARK: - Responses

  private func responses(_ operations: [KeyOperation], of id: String) -> DocumentValue {
    var responses: DocumentValue = [:]
    for (status, meaning) in operations.flatMap(\.statuses) where responses["\(status)"] == nil {
      let isError = status >= 400
      var response: DocumentValue = ["description": .string(meaning + ".")]
      let headers = Self.headers(of: operations[0], status)
      if !headers.isEmpty {
        response["headers"] = .object(headers.map { .init(name: $0, value: .component("headers", $0)) })
      }
      if isError {
        response["content"] = [
          "\(Self.errorType(of: id))": examples.media(.schema("ErrorAnswer"), .response(Int(status)), of: id)
        ]
      } else if status == 200 {
        response["content"] = content(operations, of: id)
        if let links = OperationLinks.all[id] { response["links"] = links }
      }
      responses["\(status)"] = response
    }
    let common = ["401", "403", "413", "415", "429", "431", "500", "501", "502", "503", "504"]
    let others = CommonComponents.responses(common.filter { responses[$0] == nil })
    return responses.adding(Self.withErrorType(of: id, examples.adding(to: others, of: id)))
  }

  /// The described media type of an operation's errors. They are JSON. But if generated clients find JSON among an
  /// operation's types, many ask for nothing else, and would get a key as JSON when they expect its value.
  private static func errorType(of id: String) -> String {
    id == KeyOperation.getKey.rawValue ? "*/*" : "application/json"
  }

  private static func withErrorType(of id: String, _ errors: DocumentValue) -> DocumentValue {
    let type = errorType(of: id)
    guard type != "application/json" else { return errors }
    return .object(
      errors.members.map { error in
        var response = error.value["$ref"] == nil ? error.value : resolved(error.value)
        if let content = response["content"]?["application/json"] { response["content"] = ["\(type)": content] }
        return .init(name: error.name, value: response)
      })
  }

  private static func headers(of operation: KeyOperation, _ status: UInt32) -> [String] {
    switch (operation, status) {
    case (.getKey, 200), (.getKey, 304):
      ["ETag", "X-Etcd-Revision", "X-Etcd-Create-Revision", "X-Etcd-Version", "X-Etcd-Lease"]
    case (.putValue, 200), (.putKey, 200), (_, 412): ["ETag", "X-Etcd-Revision"]
    case (.getKey, 404), (.deleteKey, 404), (_, 200): ["X-Etcd-Revision"]
    default: []
    }
  }

  private func content(_ operations: [KeyOperation], of id: String) -> DocumentValue {
    var content: DocumentValue = [:]
    // JSON first: many generated clients only know the first type. A value is no JSON.
    let isValue = id == KeyOperation.getKey.rawValue
    for type in isValue ? [MediaType.text, .bytes] : [.json, .lines, .events]
    where operations.contains(where: { $0.mediaTypes.contains(type) }) {
      content["\(type.name)"] = examples.media(
        Self.schema(of: operations[0], type), .response(200), of: id,
        type: type == .text ? "\(type.name); charset=utf-8" : "\(type.name)")
    }
    return content
  }

  /// The schema of the answer of an operation and all those merged with it.
  ///
  /// One object has the fields of all, never `anyOf`: for that, generators make types that require the fields of all
  /// alternatives at once (TypeScript, Swift), or that take the first one, whatever has come (Java).
  private static func schema(of first: KeyOperation, _ type: MediaType) -> DocumentValue {
    switch (first, type) {
    case (_, .bytes): ["type": "string", "format": "binary"]
    case (_, .events), (_, .text): ["type": "string"]
    case (.watchKeys, .lines): .schema("Change")
    case (.putKey, .lines): .schema("KeysImported")
    case (_, .lines): .schema("Key")
    case (.getKey, _): .schema("Key")
    case (.listKeys, _), (.exportKeys, _): .schema("Keys")
    case (.awaitKey, _), (.watchKey, _), (.awaitKeys, _), (.watchKeys, _): .schema("Changes")
    case (.putValue, _), (.putKey, _), (.importKeys, _): .schema("KeyWritten")
    case (.deleteKey, _), (.deleteKeys, _): .schema("KeysDeleted")
    }
  }
}

/// Regular expressions of numbers, for tools that check or make up parameters by their schemas.
enum NumberPattern {
  /// A time of at least a second, as in flags and query parameters: a number with `s`, `m` or `h`, or a bare number of
  /// seconds. Fractions and milliseconds are accepted, too, but not described.
  static func time(_ seconds: UInt64) -> String {
    let units = [("s?", 1), ("m", 60), ("h", 3600)].filter { seconds >= $0.1 }
    return "^(" + units.map { "(\(upTo(seconds / UInt64($0.1))))\($0.0)" }.joined(separator: "|") + ")$"
  }

  /// The numbers from 1 to `most`, without leading zeros.
  static func upTo(_ most: UInt64) -> String {
    let digits = String(most).utf8.map { Int($0) - 0x30 }
    func any(_ count: Int) -> String { count == 0 ? "" : count == 1 ? "[0-9]" : "[0-9]{\(count)}" }
    // Numbers with fewer digits, then those that agree with `most` up to a smaller digit, then `most`.
    var parts = digits.count > 1 ? ["[1-9][0-9]{0,\(digits.count - 2)}"] : []
    var prefix = ""
    for (index, digit) in digits.enumerated() {
      let least = index == 0 ? 1 : 0
      if digit > least { parts.append("\(prefix)[\(least)-\(digit - 1)]\(any(digits.count - index - 1))") }
      prefix += "\(digit)"
    }
    return (parts + [prefix]).joined(separator: "|")
  }
}
