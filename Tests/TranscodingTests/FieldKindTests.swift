import ByteBuffers
import ProtobufWire
import Testing

@testable import Transcoding

/// Every kind of field, including those that etcd's API does not have.
@Suite struct FieldKindTests {
  static let schema = Result {
    let kinds = FieldKind.allCases.enumerated()
    let fields =
      kinds.map {
        Schema.FieldDefinition(name: "\($1)", jsonName: "\($1)", number: $0 + 1, kind: $1, typeName: type($1))
      }
      + kinds.map {
        Schema.FieldDefinition(
          name: "some_\($1)", jsonName: "some_\($1)", number: $0 + 101, kind: $1, isRepeated: true, typeName: type($1))
      }
    let colors = Schema.EnumDefinition(name: "Color", values: [("RED", 0), ("GREEN", -1), ("BLUE", 5)])
    return try Schema(messages: [.init(name: "M", fields: fields)], enums: [colors])
  }

  static func type(_ kind: FieldKind) -> String {
    switch kind {
    case .message: "M"
    case .enumeration: "Color"
    default: ""
    }
  }

  static func encode(_ json: String) throws -> [UInt8] {
    let message = try #require(try schema.get().message("M"))
    var output = ByteBuffer()
    try Array(json.utf8).withUnsafeBytes {
      _ = try JSONToProtobuf.encode($0, as: message, strict: true, into: &output)
    }
    return output.withUnsafeBytes { Array($0) }
  }

  static func decode(_ wire: [UInt8]) throws -> String {
    var converter = ProtobufToJSON(try #require(try schema.get().message("M")))
    var output = ByteBuffer()
    try wire.withUnsafeBytes { try converter.push($0, into: &output) }
    try converter.finish(into: &output)
    return output.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
  }

  @Test(
    arguments: [
      (#"{"bool":true}"#, [0x08, 1]),
      (#"{"int32":-2147483648}"#, [0x10, 0x80, 0x80, 0x80, 0x80, 0xf8, 0xff, 0xff, 0xff, 0xff, 1]),
      (#"{"int32":2147483647}"#, [0x10, 0xff, 0xff, 0xff, 0xff, 7]),
      (#"{"int64":"-1"}"#, [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
      (#"{"uint32":4294967295}"#, [0x20, 0xff, 0xff, 0xff, 0xff, 15]), (#"{"uint64":"300"}"#, [0x28, 0xac, 2]),
      (#"{"sint32":-2147483648}"#, [0x30, 0xff, 0xff, 0xff, 0xff, 15]), (#"{"sint32":1}"#, [0x30, 2]),
      (#"{"sint64":"-9223372036854775808"}"#, [0x38] + [UInt8](repeating: 0xff, count: 9) + [1]),
      (#"{"fixed32":4294967295}"#, [0x45, 0xff, 0xff, 0xff, 0xff]),
      (#"{"fixed64":"72057594037927936"}"#, [0x49, 0, 0, 0, 0, 0, 0, 0, 1]),
      (#"{"sfixed32":-2}"#, [0x55, 0xfe, 0xff, 0xff, 0xff]),
      (#"{"sfixed64":"-2"}"#, [0x59, 0xfe] + [UInt8](repeating: 0xff, count: 7)),
      (#"{"enumeration":"GREEN"}"#, [0x60] + [UInt8](repeating: 0xff, count: 9) + [1]),
      (#"{"string":"x"}"#, [0x6a, 1, 0x78]), (#"{"bytes":"eA=="}"#, [0x72, 1, 0x78]), (#"{"message":{}}"#, [0x7a, 0]),
      (#"{"some_bool":[true,false]}"#, [0xaa, 6, 2, 1, 0]), (#"{"some_int64":["1","0"]}"#, [0xba, 6, 2, 1, 0]),
      (#"{"some_sfixed32":[-2,0]}"#, [0xf2, 6, 8, 0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
      (#"{"some_enumeration":["RED","BLUE"]}"#, [0x82, 7, 2, 0, 5]),
      (#"{"some_message":[{"bool":true},{}]}"#, [0x9a, 7, 2, 8, 1, 0x9a, 7, 0]),
    ] as [(String, [UInt8])])
  func isTheSameBothWays(_ json: String, _ wire: [UInt8]) throws {
    #expect(try Self.encode(json) == wire)
    #expect(try Self.decode(wire) == json)
  }

  @Test(arguments: [
    #"{"int32":2147483648}"#, #"{"int32":-2147483649}"#, #"{"uint32":4294967296}"#, #"{"uint32":-1}"#,
    #"{"sint32":2147483648}"#, #"{"fixed32":-1}"#, #"{"sfixed32":4294967295}"#, #"{"fixed64":-1}"#,
    #"{"sfixed64":9223372036854775808}"#, #"{"uint64":18446744073709551616}"#, #"{"some_int32":[2147483648]}"#,
  ])
  func refusesWhatDoesNotFit(_ json: String) {
    #expect { try Self.encode(json) } throws: { ($0 as? TranscodingError)?.reason == .expectedInteger }
  }

  /// A varint may have more bits than the field, which are cut off.
  @Test func surplusBitsAreIgnored() throws {
    #expect(try Self.decode([0x20, 0x85, 0x80, 0x80, 0x80, 0x10]) == #"{"uint32":5}"#)
    #expect(try Self.decode([0x10, 0x80, 0x80, 0x80, 0x80, 0x10]) == "{}")
    #expect(try Self.decode([0x08, 0x80, 0x80, 0x80, 0x80, 0x10]) == #"{"bool":true}"#)
    #expect(try Self.decode([0x30, 0x83, 0x80, 0x80, 0x80, 0x10]) == #"{"sint32":-2}"#)
  }
}
