import EtcdSchema
import SwiftProtobuf
import Testing

@testable import Transcoding

@Suite struct SchemaTests {
  @Test func everyFieldIsFoundByNumberAndByEitherName() throws {
    let schema = try etcd.get()
    for file in EtcdSchema().descriptors.file where file.package != "google.protobuf" {
      for type in file.messageType {
        let table = try #require(schema.message("\(file.package).\(type.name)")).table.pointee
        #expect(table.fieldCount == type.field.count)
        let names = Set(type.field.flatMap { [$0.name, $0.jsonName] })
        for field in type.field {
          let found = try #require(table.field(number: UInt32(field.number)))
          #expect(found.pointee.name == field.name)
          for name in [field.name, field.jsonName] {
            #expect(
              name.utf8.withContiguousStorageIfAvailable { table.field(named: $0.baseAddress!, $0.count) } == found)
            for other in [name + "x", String(name.dropLast()), name.uppercased() + "_", ""] where !names.contains(other)
            {
              let bytes = Array(other.utf8)
              #expect(bytes.withUnsafeBufferPointer { table.field(named: $0.baseAddress!, $0.count) } == nil)
            }
          }
        }
        for number: UInt32 in [0, 60, 63, 65, 200, 1 << 29 - 1] { #expect(table.field(number: number) == nil) }
      }
    }
    #expect(schema.message("etcdserverpb.Nothing") == nil)
    #expect(schema.message("google.protobuf.FileDescriptorProto") == nil)
  }

  private static func field(
    _ name: String, _ type: Google_Protobuf_FieldDescriptorProto.TypeEnum, number: Int32 = 1, typeName: String = ""
  ) -> Google_Protobuf_FieldDescriptorProto {
    .with { ($0.name, $0.type, $0.number, $0.typeName) = (name, type, number, typeName) }
  }

  private static func schema(
    _ fields: [Google_Protobuf_FieldDescriptorProto], names: [String] = ["M"]
  ) throws -> Schema {
    try Schema(
      .with { set in
        set.file = [
          .with { file in
            file.syntax = "proto3"
            file.package = "p"
            file.messageType = names.map { name in .with { ($0.name, $0.field) = (name, fields) } }
          }
        ]
      })
  }

  // Kept for ever, like the tables, which would be taken for a leak otherwise.
  private static let small = Result { try schema([field("a", .int32)]) }
  private static let large = Result { try schema((1...64).map { field("f\($0)", .int32, number: $0) }) }

  @Test func takesUpTo64Fields() throws {
    #expect(try Self.small.get().message("p.M")?.table.pointee.fieldCount == 1)
    let table = try #require(try Self.large.get().message("p.M")).table.pointee
    for number: UInt32 in 1...64 { #expect(table.field(number: number)?.pointee.name == "f\(number)") }
    #expect(table.field(number: 65) == nil)
  }

  @Test func refusesWhatItCannotDo() {
    let refused: [([Google_Protobuf_FieldDescriptorProto], [String])] = [
      ([Self.field("a", .double)], ["M"]), ([Self.field("a", .float)], ["M"]), ([Self.field("a", .group)], ["M"]),
      ([Self.field("a", .message, typeName: ".p.Nothing")], ["M"]), ([Self.field("a", .enum, typeName: ".p.M")], ["M"]),
      ([Self.field("a", .int32, number: 0)], ["M"]), ([Self.field("a\"", .int32)], ["M"]),
      ((1...65).map { Self.field("f\($0)", .int32, number: $0) }, ["M"]), ([], ["M", "M"]),
    ]
    for (fields, names) in refused {
      #expect(throws: SchemaError.self) { try Self.schema(fields, names: names) }
    }
  }
}
