import TestSupport

/// A row of the route tables: one call and its answer.
struct RouteCall: Sendable {
  enum Answer: Sendable {
    /// Status 200 and at least these members; `"*"` means any value.
    case success(JSON)
    /// One of etcd's errors, in the gateway's shape.
    case error(status: Int, code: Int, message: String)
  }

  var path: String
  /// Strings such as `"$lease"` stand for values that an earlier row has kept.
  var body: JSON
  var answer: Answer
  /// `NAME:PASSWORD` of the caller.
  var user: String?
  /// The first version under test that knows the method; older ones answer 501.
  var since = EtcdVersion.v3_4
  /// The parts of the answer to keep: name to members, such as `["member": "header.member_id"]`.
  var keep: [String: String] = [:]
  /// Whether the call is repeated until etcd is ready for it.
  var isPatient = false

  static func ok(
    _ path: String, _ body: JSON = [:], _ expected: JSON = [:], user: String? = nil, since: EtcdVersion = .v3_4,
    keep: [String: String] = [:], isPatient: Bool = false
  ) -> RouteCall {
    RouteCall(
      path: path, body: body, answer: .success(expected), user: user, since: since, keep: keep, isPatient: isPatient)
  }

  static func error(
    _ path: String, _ body: JSON, _ status: Int, _ code: Int, _ message: String, user: String? = nil,
    since: EtcdVersion = .v3_4
  ) -> RouteCall {
    RouteCall(
      path: path, body: body, answer: .error(status: status, code: code, message: message), user: user, since: since)
  }

  var isSuccess: Bool { if case .success = answer { true } else { false } }
}

extension RouteCall {
  /// Checks a response against the row.
  /// - Returns: the difference; nil if there is none.
  func mismatch(_ response: HTTPResponse, of version: EtcdVersion, _ variables: [String: JSON]) -> String? {
    guard let json = try? response.json else { return "no JSON: \(response)" }
    if version < since {
      let isUnimplemented = response.status == 501 && response.code == 12
      return isUnimplemented ? nil : "expected 501, code 12, but got \(response)"
    }
    switch answer {
    case .success(let expected):
      let isAsExpected = response.status == 200 && json.contains(expected.replacing(variables))
      return isAsExpected ? nil : "expected 200 with \(expected.replacing(variables)), but got \(response)"
    case .error(let status, let code, let message):
      let expected: JSON = ["error": .string(message), "message": .string(message), "code": .number(Double(code))]
      let isAsExpected = response.status == status && json.contains(expected)
      return isAsExpected ? nil : "expected \(status) with \(expected), but got \(response)"
    }
  }
}

extension JSON {
  /// The value with each string `$NAME` replaced by the variable of that name.
  func replacing(_ variables: [String: JSON]) -> JSON {
    switch self {
    case .string(let text) where text.hasPrefix("$"): variables[String(text.dropFirst())] ?? self
    case .array(let elements): .array(elements.map { $0.replacing(variables) })
    case .object(let members): .object(members.mapValues { $0.replacing(variables) })
    default: self
    }
  }

  /// Whether the value equals `expected`, except for further members of objects; `"*"` matches anything.
  func contains(_ expected: JSON) -> Bool {
    switch (self, expected) {
    case (_, "*"): true
    case (.object(let members), .object(let wanted)):
      wanted.allSatisfy { name, value in members[name]?.contains(value) ?? false }
    case (.array(let elements), .array(let wanted)):
      elements.count == wanted.count && zip(elements, wanted).allSatisfy { $0.contains($1) }
    default: self == expected
    }
  }

  /// The value at a path of member names joined by dots.
  func member(at path: String) -> JSON? {
    path.split(separator: ".").reduce(self as JSON?) { $0?[String($1)] }
  }
}
