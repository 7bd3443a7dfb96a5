import GrpcBridge
import HTTPServer

/// The query of a request for `/keys`, checked against the table of parameters.
struct KeyQuery {
  private enum Value {
    case bytes([UInt8])
    case flag(Bool)
    case integer(Int64)
    case milliseconds(UInt64)
    case text(String)
  }

  private var values: [(parameter: QueryParameter, value: Value)] = []

  /// - Parameter known: the parameters of requests with this path and method.
  /// - Throws: ``RequestError`` that names the parameter which is unknown, repeated or invalid.
  init(_ items: [(name: HeadBytes, value: HeadBytes?)], known: () -> [QueryParameter]) throws(RequestError) {
    for item in items {
      let name = Self.name(of: item.name)
      guard let parameter = QueryParameter(rawValue: name), known().contains(parameter) else {
        let names = QueryParameter.allCases.filter(known().contains).map(\.rawValue).joined(separator: ", ")
        throw .badRequest("unknown query parameter '\(name)'" + (names.isEmpty ? "" : "; expected one of \(names)"))
      }
      guard !has(parameter) else { throw .badRequest("the query parameter '\(name)' occurs more than once") }
      guard let value = item.value, let bytes = PercentEncoding.decode(form: value) else {
        throw .badRequest(
          "\(name): " + (item.value == nil ? "it has no value" : "'%' must be followed by two hexadecimal digits"))
      }
      values.append((parameter, try Self.read(bytes, as: parameter)))
    }
  }

  /// Checks that a request has no parameters, because its body has everything.
  ///
  /// - Throws: ``RequestError`` that names the first one.
  static func checkIsEmpty(_ items: [(name: HeadBytes, value: HeadBytes?)]) throws(RequestError) {
    guard let item = items.first else { return }
    throw .badRequest("unknown query parameter '\(name(of: item.name))': parameters go into the body, as JSON")
  }

  /// The name of a parameter, decoded if possible.
  static func name(of text: HeadBytes) -> String {
    String(decoding: PercentEncoding.decode(form: text) ?? Array(text), as: UTF8.self)
  }

  private static func read(_ bytes: [UInt8], as parameter: QueryParameter) throws(RequestError) -> Value {
    let text = String(decoding: bytes, as: UTF8.self)
    func wrong(_ expected: String) -> RequestError {
      .badRequest("\(parameter.rawValue): expected \(expected), not '\(text)'")
    }
    switch parameter.kind {
    case .bytes: return .bytes(bytes)
    case .token: return .text(text)
    case .flag:
      switch text {
      // PHP writes booleans as numbers, and so do clients generated for PHP.
      case "true", "1": return .flag(true)
      case "false", "0": return .flag(false)
      default: throw wrong("true or false")
      }
    case .integer(let range):
      let digits = range.lowerBound < 0 && bytes.first == UInt8(ascii: "-") ? bytes.dropFirst() : bytes[...]
      guard digits.allSatisfy(\.isDigit), let number = Int64(text), range.contains(number) else {
        throw wrong("a number \(range.inWords)")
      }
      return .integer(number)
    case .time(let range):
      guard let span = TimeSpan(argument: text), range.contains(span.milliseconds) else {
        throw wrong(TimeSpan.description(of: range))
      }
      return .milliseconds(span.milliseconds)
    case .choice(let words):
      guard words.contains(text) else { throw wrong("one of \(words.joined(separator: ", "))") }
      return .text(text)
    }
  }

  /// A digest of all parameters except `others`, independent of their order: the same at every gateway.
  func digest(without others: Set<QueryParameter>) -> UInt64 {
    // FNV-1a: it only detects mistakes, not attacks.
    var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    func add(_ bytes: some Sequence<UInt8>) {
      for byte in bytes { digest = (digest ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    }
    for parameter in QueryParameter.allCases where !others.contains(parameter) {
      guard let value = value(parameter) else { continue }
      add(parameter.rawValue.utf8)
      add([0])
      switch value {
      case .bytes(let bytes):
        add("\(bytes.count):".utf8)
        add(bytes)
      case .flag(let flag): add("\(flag)".utf8)
      case .integer(let number): add("\(number)".utf8)
      case .milliseconds(let time): add("\(time)".utf8)
      case .text(let text): add(text.utf8)
      }
      add([0])
    }
    return digest
  }

  private func value(_ parameter: QueryParameter) -> Value? { values.first { $0.parameter == parameter }?.value }

  /// The parameters of the query.
  var parameters: [QueryParameter] { values.map(\.parameter) }

  func has(_ parameter: QueryParameter) -> Bool { value(parameter) != nil }

  func bytes(_ parameter: QueryParameter) -> [UInt8]? {
    if case .bytes(let bytes) = value(parameter) { bytes } else { nil }
  }

  func flag(_ parameter: QueryParameter) -> Bool {
    if case .flag(let flag) = value(parameter) { flag } else { parameter.standard == "true" }
  }

  func integer(_ parameter: QueryParameter) -> Int64? {
    if case .integer(let number) = value(parameter) { number } else { parameter.standard.flatMap { Int64($0) } }
  }

  /// A time in milliseconds.
  func time(_ parameter: QueryParameter) -> UInt64? {
    if case .milliseconds(let time) = value(parameter) { return time }
    return parameter.standard.flatMap { TimeSpan(argument: $0) }?.milliseconds
  }

  func text(_ parameter: QueryParameter) -> String? {
    if case .text(let text) = value(parameter) { text } else { parameter.standard }
  }
}
