/// A value of a JSON or YAML document; members of objects keep their order.
enum DocumentValue: Equatable, Sendable {
  struct Member: Equatable, Sendable {
    var name: String
    var value: DocumentValue
  }

  case null
  case bool(Bool)
  case integer(Int)
  case string(String)
  case array([DocumentValue])
  case object([Member])

  /// A member of an object. Setting it replaces the member or adds one at the end; nil removes it.
  subscript(name: String) -> DocumentValue? {
    get {
      guard case .object(let members) = self else { return nil }
      return members.first { $0.name == name }?.value
    }
    set {
      guard case .object(var members) = self else { preconditionFailure("'\(name)' of what is no object") }
      let index = members.firstIndex { $0.name == name }
      switch (index, newValue) {
      case (let index?, let value?): members[index].value = value
      case (let index?, nil): members.remove(at: index)
      case (nil, let value?): members.append(Member(name: name, value: value))
      case (nil, nil): return
      }
      self = .object(members)
    }
  }

  var string: String? { if case .string(let text) = self { text } else { nil } }
  var elements: [DocumentValue] { if case .array(let elements) = self { elements } else { [] } }
  var members: [Member] { if case .object(let members) = self { members } else { [] } }

  /// The object with the members of `other` added, or replaced if the names are the same.
  func adding(_ other: DocumentValue) -> DocumentValue {
    var sum = self
    for member in other.members { sum[member.name] = member.value }
    return sum
  }

  /// A reference to a component, such as `schemas` `Error` (OpenAPI 3.1.1, section 4.8.23).
  static func component(_ kind: String, _ name: String) -> DocumentValue { ["$ref": "#/components/\(kind)/\(name)"] }

  static func schema(_ name: String) -> DocumentValue { component("schemas", name) }
}

extension DocumentValue: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByStringInterpolation, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  init(nilLiteral: ()) { self = .null }
  init(booleanLiteral value: Bool) { self = .bool(value) }
  init(integerLiteral value: Int) { self = .integer(value) }
  init(stringLiteral value: String) { self = .string(value) }
  init(arrayLiteral elements: DocumentValue...) { self = .array(elements) }
  init(dictionaryLiteral members: (String, DocumentValue)...) {
    self = .object(members.map { Member(name: $0.0, value: $0.1) })
  }
}
