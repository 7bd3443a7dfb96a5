import HTTPServer

/// The exchanges of `openapi/examples.json`, each of which a test tries with a real etcd.
struct DocumentExamples {
  /// The two halves of an exchange.
  enum Half {
    case request
    case response(Int)
  }

  /// By the names of their operations.
  private let exchanges: [String: [DocumentValue]]

  init() {
    let all = DocumentReader.read(examplesJSON)["exchanges"]?.elements ?? []
    exchanges = Dictionary(grouping: all) { $0["operation"]?.string ?? "" }
  }

  /// A media type object with the examples of an operation's request or response. The examples of a stream are its
  /// lines, one by one.
  ///
  /// - Parameter type: the type of the content.
  func media(
    _ schema: DocumentValue, _ half: Half, of operation: String, type: String = "application/json"
  ) -> DocumentValue {
    var media: DocumentValue = ["schema": schema]
    var examples: DocumentValue = [:]
    for exchange in exchanges[operation] ?? [] {
      guard let name = exchange["name"]?.string, let side = side(half, of: exchange),
        side["type"]?.string ?? "application/json" == type
      else { continue }
      let summary = exchange["summary"] ?? .string(name)
      if let body = side["body"] { examples[name] = ["summary": summary, "value": body] }
      for (number, line) in zip(1..., side["lines"]?.elements ?? []) {
        examples["\(name)-\(number)"] = ["summary": summary, "value": line]
      }
    }
    if !examples.members.isEmpty { media["examples"] = examples }
    return media
  }

  private func side(_ half: Half, of exchange: DocumentValue) -> DocumentValue? {
    guard case .response(let status) = half else { return exchange["request"] }
    return exchange["response"]?["status"] == .integer(status) ? exchange["response"] : nil
  }

  /// The errors of an operation, with examples if there are any.
  func adding(to errors: DocumentValue, of operation: String) -> DocumentValue {
    var errors = errors
    for error in CommonComponents.errors {
      guard errors[error.status] != nil, let status = Int(error.status) else { continue }
      let media = media(.schema("ErrorAnswer"), .response(status), of: operation)
      guard media["examples"] != nil, var response = CommonComponents.responses[error.name] else { continue }
      response["content"] = ["application/json": media]
      errors[error.status] = response
    }
    return errors
  }

  /// The values of an operation's parameter in the exchanges.
  ///
  /// - Parameter place: `path`, `query` or `headers`.
  func values(of parameter: String, in place: String, of operation: String) -> DocumentValue {
    var examples: DocumentValue = [:]
    for exchange in exchanges[operation] ?? [] {
      guard let name = exchange["name"]?.string, let value = exchange["request"]?[place]?[parameter] else { continue }
      examples[name] = ["summary": exchange["summary"] ?? .string(name), "value": value]
    }
    return examples
  }
}
