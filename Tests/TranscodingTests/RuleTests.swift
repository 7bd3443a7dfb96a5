import ByteBuffers
import ProtobufWire
import Testing

@testable import Transcoding

/// What rules refuse.
@Suite struct RuleTests {
  // Kept for ever, like the tables, which would be taken for a leak otherwise.
  private static let schema = Result {
    var rules = Schema.Rules()
    rules.requirements["Top"] = [
      .init(field: "name", condition: ("color", 5), because: "BLUE needs a name"),
      .init(field: "list", because: "a list is needed"),
    ]
    rules.fields["Top.left"] = .init(role: "left", excludes: "right", because: "not with right")
    rules.fields["Inner.right"] = .init(role: "right", excludes: "left", value: [0], because: "not with left")
    rules.fields["Top.urls"] = .init(isMemberURL: true, because: "not a URL")
    return try Schema(
      messages: [
        .init(
          name: "Top",
          fields: [
            .init(name: "name", jsonName: "name", number: 1, kind: .string),
            .init(name: "color", jsonName: "color", number: 2, kind: .enumeration, typeName: "Color"),
            .init(name: "list", jsonName: "list", number: 300, kind: .int64, isRepeated: true),
            .init(name: "left", jsonName: "left", number: 4, kind: .bool),
            .init(name: "inner", jsonName: "inner", number: 5, kind: .message, isRepeated: true, typeName: "Inner"),
            .init(name: "urls", jsonName: "urls", number: 6, kind: .string, isRepeated: true),
          ]),
        .init(name: "Inner", fields: [.init(name: "right", jsonName: "right", number: 1, kind: .bytes)]),
      ],
      enums: [.init(name: "Color", values: [("RED", 0), ("BLUE", 5)])], rules: rules)
  }

  private func encode(_ json: String) throws -> [UInt8] {
    let message = try #require(try Self.schema.get().message("Top"))
    var output = ByteBuffer()
    var json = json
    _ = try json.withUTF8 { text throws in
      try JSONToProtobuf.encode(UnsafeRawBufferPointer(text), as: message, strict: false, into: &output)
    }
    return output.withUnsafeBytes { Array($0) }
  }

  @Test(arguments: [
    (#"{}"#, "list: a list is needed (at byte 2)"),
    (#"{"list":[]}"#, "list: a list is needed (at byte 11)"),
    (#"{"list":[0],"color":"BLUE"}"#, "name: BLUE needs a name (at byte 27)"),
    (#"{"color":5,"name":"","list":[0]}"#, "name: BLUE needs a name (at byte 32)"),
    (#"{"list":[0],"left":true,"inner":[{},{"right":"AA=="}]}"#, "inner[1].right: not with left (at byte 51)"),
    (#"{"list":[0],"inner":[{"right":"AA"}],"left":true}"#, "left: not with right (at byte 48)"),
    (#"{"list":[0],"urls":["http://a:1",""]}"#, "urls[1]: not a URL (at byte 36)"),
    (#"{"list":[0],"color":4}"#, "color: no enum value has this number: RED (0), BLUE (5) (at byte 20)"),
  ])
  func whatARuleRefusesIsNamed(_ json: String, _ message: String) throws {
    let error = try #require(throws: TranscodingError.self) { try encode(json) }
    #expect("\(error)" == message)
  }

  @Test(arguments: [
    #"{"list":[0],"color":"BLUE","name":"x"}"#, #"{"list":[0],"color":"GREEN"}"#, #"{"list":[0,1],"color":0}"#,
    #"{"list":[0],"left":false,"inner":[{"right":"AA=="}]}"#, #"{"list":[0],"left":true,"inner":[{"right":"AAA="}]}"#,
    #"{"list":[0],"left":true,"inner":[{"right":""},{}]}"#, #"{"list":[0],"inner":[{"right":"AA"},{"right":"AA"}]}"#,
    #"{"list":[0],"urls":["http://a:1","https://a.b-c_d:65535","unix://x:1","unixs://x:0","http://[::1]:2380"]}"#,
    #"{"list":[0],"urls":[]}"#,
  ])
  func allElseIsTaken(_ json: String) throws {
    #expect(throws: Never.self) { try encode(json) }
  }

  @Test func aRuleAboutNothingIsAMistake() {
    for rules in [
      Schema.Rules.with { $0.fields["M.b"] = .init(because: "") },
      .with { $0.requirements["M"] = [.init(field: "b", because: "")] },
      .with { $0.requirements["M"] = [.init(field: "a", condition: ("b", 1), because: "")] },
      .with { $0.requirements["N"] = [.init(field: "a", because: "")] },
    ] {
      #expect(throws: SchemaError.self) {
        try Schema(
          messages: [.init(name: "M", fields: [.init(name: "a", jsonName: "a", number: 1, kind: .bool)])], enums: [],
          rules: rules)
      }
    }
  }
}

extension Schema.Rules {
  fileprivate static func with(_ change: (inout Self) -> Void) -> Self {
    var rules = Self()
    change(&rules)
    return rules
  }
}
