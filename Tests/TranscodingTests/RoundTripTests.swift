import EtcdSchema
import SwiftProtobuf
import Testing

@testable import Transcoding

/// Both directions against swift-protobuf, with random messages of every type.
@Suite struct RoundTripTests {
  /// Another one for every run; a failure reports it.
  static let seed = UInt64.random(in: .min ... .max)
  static let rounds: UInt64 = 25

  @Test func everyMessageOfTheSchemaIsTested() {
    let names = EtcdSchema().descriptors.file.filter { $0.package != "google.protobuf" }
      .flatMap { file in file.messageType.map { "\(file.package).\($0.name)" } }
    #expect(Set(generatedMessages.map { $0.protoMessageName }) == Set(names))
  }

  @Test(arguments: generatedMessages.map { $0.protoMessageName })
  func agreesWithSwiftProtobuf(_ name: String) throws {
    let type = try #require(generatedMessages.first { $0.protoMessageName == name })
    for round in 0..<Self.rounds {
      let seed = Self.seed &+ round
      try check(type, RandomMessage(seed: seed), "seed \(seed)")
    }
  }

  private func check<M: Message>(_: M.Type, _ source: RandomMessage, _ comment: Comment) throws {
    var source = source
    let name = M.protoMessageName
    let wire = source.wire(of: try message(name).table)
    let original = try M(serializedBytes: wire)

    // Out: what the transcoder writes is the message, however the bytes arrive.
    let json = try decode(wire, as: name)
    #expect(try M(jsonString: json).isEqualTo(message: original), comment)
    #expect(try decode(wire.map { [$0] }, as: name) == json, comment)
    #expect(try decode(source.pieces(of: wire), as: name) == json, comment)

    // In: what the transcoder has written, and what swift-protobuf writes, is the message again, to the byte.
    let canonical: [UInt8] = try original.serializedBytes()
    #expect(try encode(json, as: name, strict: true) == canonical, comment)
    var options = JSONEncodingOptions()
    options.preserveProtoFieldNames = source.random.chance(1, in: 2)
    options.alwaysPrintEnumsAsInts = source.random.chance(1, in: 2)
    options.alwaysPrintInt64sAsNumbers = source.random.chance(1, in: 2)
    let other = try original.jsonString(options: options)
    #expect(try encode(other, as: name, strict: true) == canonical, comment)
    let respelled = source.respelled(other)
    #expect(try encode(respelled, as: name) == canonical, "\(comment): \(respelled)")
  }
}
