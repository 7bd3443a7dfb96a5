import EtcdSchema
import Testing

@testable import Transcoding

/// What stock etcd accepts and refuses, row by row.
@Suite struct JSONToProtobufTests {
  static let range = "etcdserverpb.RangeRequest"

  struct Row: CustomTestStringConvertible, Sendable {
    let json: String
    let wire: [UInt8]
    var name = JSONToProtobufTests.range
    var testDescription: String { json }

    init(_ json: String, _ wire: [UInt8], _ name: String = JSONToProtobufTests.range) {
      (self.json, self.wire, self.name) = (json, wire, name)
    }
  }

  @Test(arguments: [
    // Empty messages.
    Row("", []), Row(" \r\n\t", []), Row("{}", []), Row(" { } ", []), Row(#"{"key":null}"#, []),
    // Names, white space and escapes.
    Row(#"{"key":"YQ=="}"#, [0x0a, 1, 0x61]),
    Row(#" { "key" : "YQ==" , "limit" : 1 } "#, [0x0a, 1, 0x61, 0x18, 1]),
    Row(#"{"range_end":"YQ=="}"#, [0x12, 1, 0x61]), Row(#"{"rangeEnd":"YQ=="}"#, [0x12, 1, 0x61]),
    Row(#"{"r\u0061nge_end":"\u0059Q\u003d="}"#, [0x12, 1, 0x61]),
    Row(#"{"count_only":true,"keys_only":false,"serializable":null}"#, [0x48, 1]),
    // Unknown fields of any shape.
    Row(#"{"x":1,"y":{"z":[1,{"a":null}],"w":"\n"},"":[],"v":[true,false,-1.5e-7],"limit":2}"#, [0x18, 2]),
    Row(#"{"Key":"YQ==","KEY":"YQ==","ke":"","keyy":"","\u006b\u0065":1}"#, []),
    // Integers.
    Row(#"{"limit":7}"#, [0x18, 7]), Row(#"{"limit":"7"}"#, [0x18, 7]), Row(#"{"limit":0}"#, []),
    Row(#"{"limit":1e2}"#, [0x18, 100]), Row(#"{"limit":1.0}"#, [0x18, 1]), Row(#"{"limit":"5.0"}"#, [0x18, 5]),
    Row(#"{"limit":"1e1"}"#, [0x18, 10]), Row(#"{"limit":-0}"#, []), Row(#"{"limit":1.25E+2}"#, [0x18, 125]),
    Row(#"{"limit":1200e-2}"#, [0x18, 12]), Row(#"{"limit":0e99999999999999999999}"#, []),
    Row(#"{"limit":0.000}"#, []), Row(#"{"limit":"\u0037"}"#, [0x18, 7]),
    Row(#"{"limit":100000000000000000000000e-23}"#, [0x18, 1]),
    Row(#"{"limit":-1}"#, [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
    Row(#"{"limit":9223372036854775807}"#, [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
    Row(#"{"limit":"-9223372036854775808"}"#, [0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]),
    Row(
      #"{"ID":18446744073709551615}"#, [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
      "etcdserverpb.MemberRemoveRequest"),
    // Enums.
    Row(#"{"sort_order":"DESCEND"}"#, [0x28, 2]), Row(#"{"sort_order":2}"#, [0x28, 2]),
    Row(#"{"sort_order":"2"}"#, [0x28, 2]), Row(#"{"sort_order":2.0}"#, [0x28, 2]), Row(#"{"sort_order":null}"#, []),
    Row(#"{"sort_order":"NONE"}"#, []), Row(#"{"sort_order":"\u0044ESCEND"}"#, [0x28, 2]),
    Row(#"{"sort_order":"SIDEWAYS"}"#, []), Row(#"{"sort_order":"descend"}"#, []), Row(#"{"sort_order":""}"#, []),
    // Base64: both alphabets, padded or not, any trailing bits.
    Row(#"{"key":"Zm9v"}"#, [0x0a, 3, 0x66, 0x6f, 0x6f]), Row(#"{"key":"Zm9vYg"}"#, [0x0a, 4, 0x66, 0x6f, 0x6f, 0x62]),
    Row(#"{"key":"+/+/"}"#, [0x0a, 3, 0xfb, 0xff, 0xbf]), Row(#"{"key":"-_-_"}"#, [0x0a, 3, 0xfb, 0xff, 0xbf]),
    Row(#"{"key":"YR=="}"#, [0x0a, 1, 0x61]), Row(#"{"key":"YWI"}"#, [0x0a, 2, 0x61, 0x62]),
    Row(#"{"key":""}"#, []), Row(#"{"key":"+\/+\/"}"#, [0x0a, 3, 0xfb, 0xff, 0xbf]),
    // Strings.
    Row(#"{"role":"a"}"#, [0x0a, 1, 0x61], "etcdserverpb.AuthRoleGetRequest"),
    Row(#"{"role":""}"#, [], "etcdserverpb.AuthRoleGetRequest"),
    Row(#"{"role":"é\u00e9"}"#, [0x0a, 4, 0xc3, 0xa9, 0xc3, 0xa9], "etcdserverpb.AuthRoleGetRequest"),
    Row(#"{"role":"\ud83d\ude00"}"#, [0x0a, 4, 0xf0, 0x9f, 0x98, 0x80], "etcdserverpb.AuthRoleGetRequest"),
    Row(#"{"role":"\uFFFD\u0000"}"#, [0x0a, 4, 0xef, 0xbf, 0xbd, 0], "etcdserverpb.AuthRoleGetRequest"),
    Row(
      #"{"role":"\"\\\/\b\f\n\r\t"}"#, [0x0a, 8, 0x22, 0x5c, 0x2f, 8, 12, 10, 13, 9],
      "etcdserverpb.AuthRoleGetRequest"),
    // Messages, repeated fields and oneofs.
    Row(
      #"{"peerURLs":["a",""],"isLearner":true}"#, [0x0a, 1, 0x61, 0x0a, 0, 0x10, 1], "etcdserverpb.MemberAddRequest"),
    Row(#"{"create_request":{}}"#, [0x0a, 0], "etcdserverpb.WatchRequest"),
    Row(
      #"{"createRequest":{"filters":["NOPUT",1,"WHAT"],"watch_id":"3"}}"#, [0x0a, 6, 0x2a, 2, 0, 1, 0x38, 3],
      "etcdserverpb.WatchRequest"),
    Row(#"{"create_request":{"filters":["WHAT"]}}"#, [0x0a, 0], "etcdserverpb.WatchRequest"),
    Row(#"{"create_request":{"filters":[]}}"#, [0x0a, 0], "etcdserverpb.WatchRequest"),
    Row(#"{"create_request":null,"cancel_request":{"watch_id":0}}"#, [0x12, 0], "etcdserverpb.WatchRequest"),
    Row(#"{"version":0,"mod_revision":null}"#, [0x20, 0], "etcdserverpb.Compare"),
    Row(#"{"value":""}"#, [0x3a, 0], "etcdserverpb.Compare"),
    Row(#"{"range_end":"YQ=="}"#, [0x82, 4, 1, 0x61], "etcdserverpb.Compare"),
    Row(
      #"{"success":[{"request_put":{"key":"YQ==","value":"Yg=="}},{}]}"#,
      [0x12, 8, 0x12, 6, 0x0a, 1, 0x61, 0x12, 1, 0x62, 0x12, 0], "etcdserverpb.TxnRequest"),
  ])
  func accepts(_ row: Row) throws {
    #expect(try encode(row.json, as: row.name) == row.wire)
  }

  struct RequestError: CustomTestStringConvertible, Sendable {
    let json: String
    let reason: TranscodingError.Reason
    let offset: Int
    let path: String
    let name: String
    var testDescription: String { json }

    init(
      _ json: String, _ reason: TranscodingError.Reason, at offset: Int, _ path: String = "",
      _ name: String = JSONToProtobufTests.range
    ) {
      (self.json, self.reason, self.offset, self.path, self.name) = (json, reason, offset, path, name)
    }
  }

  @Test(arguments: [
    // Integers.
    RequestError(#"{"limit":1.5}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":"x"}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":""}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":" 5"}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":"5 "}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":"+5"}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":"05"}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":"5."}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":"5e"}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":"-"}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":9223372036854775808}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":-9223372036854775809}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":18446744073709551617}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":100000000000000000000000000000000000001}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":1e999999999999999999999999}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":1e-1}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":007}"#, .unexpectedCharacter, at: 10),
    RequestError(#"{"limit":-}"#, .unexpectedCharacter, at: 10, "limit"),
    RequestError(#"{"limit":1.}"#, .unexpectedCharacter, at: 11, "limit"),
    RequestError(#"{"limit":true}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":[]}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"limit":NaN}"#, .expectedInteger, at: 9, "limit"),
    RequestError(#"{"ID":-1}"#, .expectedInteger, at: 6, "ID", "etcdserverpb.MemberRemoveRequest"),
    RequestError(#"{"ID":18446744073709551616}"#, .expectedInteger, at: 6, "ID", "etcdserverpb.MemberRemoveRequest"),
    // Enums and bools.
    RequestError(#"{"sort_order":1.5}"#, .expectedEnum, at: 14, "sort_order"),
    RequestError(#"{"sort_order":2147483648}"#, .expectedEnum, at: 14, "sort_order"),
    RequestError(#"{"sort_order":true}"#, .expectedEnum, at: 14, "sort_order"),
    RequestError(#"{"sort_order":9}"#, .unknownEnumNumber, at: 14, "sort_order"),
    RequestError(#"{"sort_order":-1}"#, .unknownEnumNumber, at: 14, "sort_order"),
    RequestError(#"{"sort_order":"9"}"#, .unknownEnumNumber, at: 14, "sort_order"),
    RequestError(#"{"sort_order":3e0}"#, .unknownEnumNumber, at: 14, "sort_order"),
    RequestError(#"{"serializable":"true"}"#, .expectedBool, at: 16, "serializable"),
    RequestError(#"{"serializable":1}"#, .expectedBool, at: 16, "serializable"),
    RequestError(#"{"serializable":tru}"#, .unexpectedCharacter, at: 19, "serializable"),
    // Base64.
    RequestError(#"{"key":"Y"}"#, .invalidBase64, at: 7, "key"),
    RequestError(#"{"key":"YQ="}"#, .invalidBase64, at: 7, "key"),
    RequestError(#"{"key":"YQ==="}"#, .invalidBase64, at: 7, "key"),
    RequestError(#"{"key":"="}"#, .invalidBase64, at: 7, "key"),
    RequestError(#"{"key":"===="}"#, .invalidBase64, at: 7, "key"),
    RequestError(#"{"key":"***"}"#, .invalidBase64, at: 7, "key"),
    RequestError(#"{"key":"YQ==YQ=="}"#, .invalidBase64, at: 7, "key"),
    RequestError(#"{"key":"YQ\n=="}"#, .invalidBase64, at: 7, "key"),
    RequestError(#"{"key":"éé"}"#, .invalidBase64, at: 7, "key"),
    RequestError("{\"key\":\"YQ\n==\"}", .controlCharacter, at: 10, "key"),
    RequestError(#"{"key":1}"#, .expectedString, at: 7, "key"),
    RequestError(#"{"key":{}}"#, .expectedString, at: 7, "key"),
    RequestError(#"{"key":["YQ=="]}"#, .expectedString, at: 7, "key"),
    // The document.
    RequestError("[]", .expectedObject, at: 0), RequestError("null", .expectedObject, at: 0),
    RequestError(" 42", .expectedObject, at: 1),
    RequestError(#""x""#, .expectedObject, at: 0), RequestError("\u{feff}{}", .expectedObject, at: 0),
    RequestError("NaN", .expectedObject, at: 0), RequestError("{'key':1}", .unexpectedCharacter, at: 1),
    RequestError(#"{"key":null,}"#, .unexpectedCharacter, at: 12), RequestError("{,}", .unexpectedCharacter, at: 1),
    RequestError(#"{"key" null}"#, .unexpectedCharacter, at: 7),
    RequestError(#"{"key":null "limit":1}"#, .unexpectedCharacter, at: 12),
    RequestError(#"{"x":[1,]}"#, .unexpectedCharacter, at: 8), RequestError(#"{"x":[1}"#, .unexpectedCharacter, at: 7),
    RequestError(#"{"x":nul}"#, .unexpectedCharacter, at: 8), RequestError(#"{"x":01}"#, .unexpectedCharacter, at: 6),
    RequestError("\u{c}{}", .expectedObject, at: 0),
    // Duplicates.
    RequestError(#"{"key":"YQ==","key":"YQ=="}"#, .duplicateField, at: 14, "key"),
    RequestError(#"{"key":null,"key":"YQ=="}"#, .duplicateField, at: 12, "key"),
    RequestError(#"{"range_end":"","rangeEnd":""}"#, .duplicateField, at: 16, "range_end"),
    RequestError(
      #"{"success":[{"request_put":{},"request_range":{}}]}"#, .oneofAlreadySet, at: 30, "success[0].request_range",
      "etcdserverpb.TxnRequest"),
    // Paths.
    RequestError(
      #"{"success":[{},{"request_put":{"key":"Y"}}]}"#, .invalidBase64, at: 37, "success[1].request_put.key",
      "etcdserverpb.TxnRequest"),
    RequestError(#"{"success":[null]}"#, .expectedObject, at: 12, "success[0]", "etcdserverpb.TxnRequest"),
    RequestError(#"{"success":{}}"#, .expectedArray, at: 11, "success", "etcdserverpb.TxnRequest"),
    RequestError(#"{"peerURLs":["",7]}"#, .expectedString, at: 16, "peerURLs[1]", "etcdserverpb.MemberAddRequest"),
    // Strings, known and skipped.
    RequestError(#"{"role":"\ud800"}"#, .loneSurrogate, at: 9, "role", "etcdserverpb.AuthRoleGetRequest"),
    RequestError(#"{"role":"\udc00\ud800"}"#, .loneSurrogate, at: 9, "role", "etcdserverpb.AuthRoleGetRequest"),
    RequestError(#"{"role":"\ud800\u0041"}"#, .loneSurrogate, at: 9, "role", "etcdserverpb.AuthRoleGetRequest"),
    RequestError(#"{"role":"\x"}"#, .invalidEscape, at: 9, "role", "etcdserverpb.AuthRoleGetRequest"),
    RequestError(#"{"role":"\u12g4"}"#, .invalidEscape, at: 9, "role", "etcdserverpb.AuthRoleGetRequest"),
    RequestError(#"{"x":"\ud800"}"#, .loneSurrogate, at: 6), RequestError(#"{"\ud800":1}"#, .loneSurrogate, at: 2),
    RequestError("{\"x\":\"\u{1}\"}", .controlCharacter, at: 6),
  ])
  func refuses(_ row: RequestError) throws {
    let error = try fault(row.json, as: row.name)
    #expect(
      error == TranscodingError(reason: row.reason, path: row.path, offset: row.offset, detail: error.detail))
    #expect(!error.isIncomplete)
  }

  @Test(
    arguments: [
      [0xff], [0xc0, 0x80], [0xc3, 0x28], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf0, 0x80, 0x80, 0x80],
      [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82], [0x80],
    ] as [[UInt8]])
  func refusesInvalidUTF8(_ bytes: [UInt8]) throws {
    for field in ["role", "skipped"] {
      let json = Array("{\"\(field)\":\"a".utf8) + bytes + Array("\"}".utf8)
      let error = try #require(throws: TranscodingError.self) {
        try encode(json, as: "etcdserverpb.AuthRoleGetRequest")
      }
      #expect(error.reason == .invalidUTF8)
      #expect(error.offset == field.utf8.count + 6)
    }
  }

  @Test func strictHandlingNamesTheOffender() throws {
    let rows: [(String, String, TranscodingError)] = [
      (Self.range, #"{"keys":1}"#, .init(reason: .unknownField, path: "keys", offset: 1)),
      (
        "etcdserverpb.TxnRequest", #"{"success":[{"request_put":{"keyy":1}}]}"#,
        .init(reason: .unknownField, path: "success[0].request_put.keyy", offset: 28)
      ),
      (Self.range, #"{"sort_order":"UP"}"#, .init(reason: .unknownEnumValue, path: "sort_order", offset: 14)),
      (Self.range, #"{"limit":1} x"#, .init(reason: .trailingBytes, path: "", offset: 12)),
      (Self.range, #"{}{}"#, .init(reason: .trailingBytes, path: "", offset: 2)),
    ]
    for (name, json, error) in rows {
      #expect(try fault(json, as: name, strict: true) == error)
      #expect(throws: Never.self) { try encode(json, as: name) }
    }
    #expect(try encode(#"{"limit":1,"sort_order":"1"} "#, as: Self.range, strict: true) == [0x18, 1, 0x28, 1])
  }

  @Test func takesOneValueOfASequence() throws {
    let sequence = Array(#" {"limit":1} {"limit":2}x"#.utf8)
    for strict in [false, true] {
      let (first, taken) = try encode(sequence, as: Self.range, strict: strict, sequence: true)
      #expect(first == [0x18, 1])
      #expect(taken == 12)
      let (second, takenNext) = try encode(sequence[taken...], as: Self.range, strict: strict, sequence: true)
      #expect(second == [0x18, 2])
      #expect(takenNext == 12)
    }
    #expect(try encode(Array("  ".utf8), as: Self.range).taken == 2)
  }

  @Test func everyBeginningOfAValueIsIncomplete() throws {
    let json = Array(
      #"{"compare":[{"key":"YQ=\u003d","target":"VERSION","version":-1.0e0,"x":{"y":[null,true,"é\ud83d\ude00\n"]}}]}"#
        .utf8)
    _ = try encode(json, as: "etcdserverpb.TxnRequest", strict: false)
    for count in 1..<json.count {
      let error = try #require(throws: TranscodingError.self) {
        try encode(json[..<count], as: "etcdserverpb.TxnRequest")
      }
      #expect(error.isIncomplete, "\(count): \(error)")
      #expect(error.offset <= count)
    }
  }

  @Test func nestingIsLimited() throws {
    func arrays(_ depth: Int) -> String {
      #"{"x":"# + String(repeating: "[", count: depth - 1) + String(repeating: "]", count: depth - 1) + "}"
    }
    #expect(try encode(arrays(64), as: Self.range) == [])
    #expect(try fault(arrays(65), as: Self.range).reason == .tooDeep)
    #expect(try fault(arrays(100_000), as: Self.range) == .init(reason: .tooDeep, path: "", offset: 68))

    func transactions(_ depth: Int) -> String {
      String(repeating: #"{"success":[{"request_txn":"#, count: depth) + "{}" + String(repeating: "}]}", count: depth)
    }
    // Each is three levels of brackets.
    #expect(throws: Never.self) { try encode(transactions(21), as: "etcdserverpb.TxnRequest") }
    #expect(try fault(transactions(22), as: "etcdserverpb.TxnRequest").reason == .tooDeep)
  }

  @Test(arguments: [0, 1, 126, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152])
  func lengthsOfEverySizeAreWritten(_ count: Int) throws {
    let text = String(repeating: "x", count: count)
    for json in [text, count > 0 ? "\\u0078" + text.dropFirst() : ""] {
      let wire = try encode(
        #"{"success":[{"request_txn":{"success":[]}}],"x":"\#(json)"}"#, as: "etcdserverpb.TxnRequest")
      #expect(wire == [0x12, 2, 0x22, 0])
      let options = try encode(
        #"{"name":"\#(json)","options":{"no_password":true}}"#, as: "etcdserverpb.AuthUserAddRequest")
      let message = try Etcdserverpb_AuthUserAddRequest(serializedBytes: options)
      #expect(message.name == text)
      #expect(message.options.noPassword)
      let create = try encode(
        #"{"create_request":{"key":"\#(String(repeating: "A", count: count / 4 * 4))"}}"#,
        as: "etcdserverpb.WatchRequest")
      #expect(try Etcdserverpb_WatchRequest(serializedBytes: create).createRequest.key.count == count / 4 * 3)
    }
  }
}
