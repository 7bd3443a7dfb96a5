import EtcdSchema
import SwiftProtobuf
import Testing

@testable import Transcoding

@Suite struct SchemaTests {
  @Test func everyFieldIsFoundByNumberAndByEitherName() throws {
    let schema = try etcd.get()
    for file in EtcdSchema.descriptors.file where file.package != "google.protobuf" {
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

  @Test func refusesWhatItCannotDo() {
    func field(
      _ name: String, _ type: Google_Protobuf_FieldDescriptorProto.TypeEnum, number: Int32 = 1, typeName: String = ""
    ) -> Google_Protobuf_FieldDescriptorProto {
      .with { ($0.name, $0.type, $0.number, $0.typeName) = (name, type, number, typeName) }
    }
    func schema(_ fields: [Google_Protobuf_FieldDescriptorProto], names: [String] = ["M"]) throws -> Schema {
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
    #expect(throws: Never.self) { try schema([field("a", .int32)]) }
    #expect(throws: SchemaError.self) { try schema([field("a", .double)]) }
    #expect(throws: SchemaError.self) { try schema([field("a", .message, typeName: ".p.Nothing")]) }
    #expect(throws: SchemaError.self) { try schema([field("a", .enum, typeName: ".p.M")]) }
    #expect(throws: SchemaError.self) { try schema([field("a", .int32, number: 0)]) }
    #expect(throws: SchemaError.self) { try schema([field("a\"", .int32)]) }
    #expect(throws: SchemaError.self) { try schema((1...65).map { field("f\($0)", .int32, number: $0) }) }
    #expect(throws: SchemaError.self) { try schema([], names: ["M", "M"]) }
    #expect(throws: Never.self) { try schema((1...64).map { field("f\($0)", .int32, number: $0) }) }
  }
}
