/// The exchanges of `openapi/examples.json`, each of which a test has with a real etcd.
struct DocumentExamples {
  /// Which half of an exchange.
  enum Half {
    case request
    case response(Int)
  }

  private let exchanges: [DocumentValue]

  init() {
    exchanges = DocumentReader.read(examplesJSON)["exchanges"]?.elements ?? []
  }

  private func exchanges(_ half: Half, of operation: String) -> [DocumentValue] {
    exchanges.filter { exchange in
      guard exchange["operation"]?.string == operation else { return false }
      guard case .response(let status) = half else { return exchange["request"]?["body"] != nil }
      return exchange["response"]?["status"] == .integer(status) && exchange["response"]?["body"] != nil
    }
  }

  /// A media type object with the examples that there are of an operation's request or response.
  ///
  /// - Parameter type: the type of the responses' content, where an operation has several.
  func media(
    _ schema: DocumentValue, _ half: Half, of operation: String, type: String = "application/json"
  ) -> DocumentValue {
    var media: DocumentValue = ["schema": schema]
    var examples: DocumentValue = [:]
    for exchange in exchanges(half, of: operation) {
      let side = if case .request = half { exchange["request"] } else { exchange["response"] }
      guard let name = exchange["name"]?.string, let body = side?["body"] else { continue }
      guard side?["type"]?.string ?? "application/json" == type else { continue }
      examples[name] = ["summary": exchange["summary"] ?? .string(name), "value": body]
    }
    if !examples.members.isEmpty { media["examples"] = examples }
    return media
  }

  /// Errors of an operation, those that there are examples of with them.
  func adding(to errors: DocumentValue, of operation: String) -> DocumentValue {
    var errors = errors
    for error in CommonComponents.errors {
      guard errors[error.status] != nil, let status = Int(error.status) else { continue }
      let media = media(.schema("Error"), .response(status), of: operation)
      guard media["examples"] != nil, var response = CommonComponents.responses[error.name] else { continue }
      response["content"] = ["application/json": media]
      errors[error.status] = response
    }
    return errors
  }

  /// The values that a parameter of an operation has in the exchanges.
  ///
  /// - Parameter place: `path`, `query` or `headers`.
  func values(of parameter: String, in place: String, of operation: String) -> DocumentValue {
    var examples: DocumentValue = [:]
    for exchange in exchanges where exchange["operation"]?.string == operation {
      guard let name = exchange["name"]?.string, let value = exchange["request"]?[place]?[parameter] else { continue }
      examples[name] = ["summary": exchange["summary"] ?? .string(name), "value": value]
    }
    return examples
  }
}
