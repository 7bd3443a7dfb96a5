/// The rules by which a schema refuses documents that fit its messages.
extension Schema {
  package struct Rules: Sendable {
    /// A field that a message must have, with a value other than zero or empty.
    package struct Requirement: Sendable {
      var field: String
      /// The enum field, and the number that it must have, for the requirement to apply; nil if it always applies.
      var condition: (field: String, number: Int32)?
      /// The text after the name of the field in an error.
      var because: String

      package init(field: String, condition: (field: String, number: Int32)? = nil, because: String) {
        self.field = field
        self.condition = condition
        self.because = because
      }
    }

    /// The rule of one field.
    package struct FieldRule: Sendable {
      /// Whether each value must be a URL that etcd accepts for a member: `http://HOST:PORT`, or with another of its
      /// schemes.
      var isMemberURL: Bool
      /// The effect of the field on a request, under a name that other rules refer to; empty for none.
      var role: String
      /// The role that no other field of the same document may have, at any depth; empty for none.
      var excludes: String
      /// The value with which the field has its role; empty for any value that is not zero or empty.
      var value: [UInt8]
      /// The text after the name of the field in an error.
      var because: String

      package init(
        isMemberURL: Bool = false, role: String = "", excludes: String = "", value: [UInt8] = [], because: String
      ) {
        self.isMemberURL = isMemberURL
        self.role = role
        self.excludes = excludes
        self.value = value
        self.because = because
      }
    }

    /// By the full names of messages.
    package var requirements: [String: [Requirement]] = [:]
    /// By the full names of fields.
    package var fields: [String: FieldRule] = [:]

    package init() {}
  }
}

// MARK: Tables

struct RequirementTable {
  let field: UnsafePointer<FieldTable>
  /// The field that decides whether the requirement applies, or null.
  let condition: UnsafePointer<FieldTable>?
  let number: UInt64
  let because: TableText
  /// Whether another requirement of the same message follows.
  let hasNext: Bool
}

struct FieldRuleTable {
  let isMemberURL: Bool
  let role: UInt64
  let excludes: UInt64
  let value: TableText
  let because: TableText
}

extension SchemaCompiler {
  /// A bit for each role, by name.
  static func roles(of rules: Schema.Rules) throws -> [String: UInt64] {
    let names = Set(rules.fields.values.flatMap { [$0.role, $0.excludes] }).subtracting([""]).sorted()
    guard names.count <= UInt64.bitWidth else { throw SchemaError(description: "too many roles of fields") }
    return Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, UInt64(1) << $0) })
  }

  func table(of rule: Schema.Rules.FieldRule) -> FieldRuleTable {
    FieldRuleTable(
      isMemberURL: rule.isMemberURL, role: roles[rule.role] ?? 0, excludes: roles[rule.excludes] ?? 0,
      value: Self.text(rule.value), because: Self.text(rule.because))
  }

  /// The requirements of a message whose fields are given by name.
  func requirements(
    of message: String, fields: [String: UnsafePointer<FieldTable>]
  ) -> UnsafePointer<RequirementTable>? {
    guard let list = rules.requirements[message], !list.isEmpty else { return nil }
    return Self.array(
      list.enumerated().compactMap { index, requirement in
        fields[requirement.field].map { field in
          RequirementTable(
            field: field, condition: requirement.condition.flatMap { fields[$0.field] },
            number: UInt64(bitPattern: Int64(requirement.condition?.number ?? 0)),
            because: Self.text(requirement.because), hasNext: index + 1 < list.count)
        }
      })
  }

  /// A rule about an unknown message or field would silently not apply.
  func checkRules() throws {
    var fields = rules.fields
    var requirements = rules.requirements
    for message in messages {
      for field in message.fields { fields["\(message.name).\(field.name)"] = nil }
      for requirement in requirements.removeValue(forKey: message.name) ?? [] {
        for name in [requirement.field, requirement.condition?.field].compactMap(\.self)
        where !message.fields.contains(where: { $0.name == name }) {
          throw SchemaError(description: "a rule is about \(message.name).\(name), which there is not")
        }
      }
    }
    if let missing = fields.keys.first ?? requirements.keys.first {
      throw SchemaError(description: "a rule is about \(missing), which there is not")
    }
  }
}
