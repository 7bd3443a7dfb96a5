import ByteBuffers
import EtcdSchema
import Foundation
import ProtobufWire
import SwiftProtobuf
import TestSupport
import Testing

@testable import Gateway
@testable import HTTPServer

/// The answers that etcd, or what is in its place, may give to a transaction in plain JSON.
@Suite struct TxnAnswerTests {
  private static let request = """
    {"then":[{"put":{"key":"a","value":"","prev":true}},{"get":{"key":"a"}},{"get":{"prefix":"b"}},
    {"delete":{"key":"c"}},{"txn":{"else":[{"get":{"key":"a"}},{"txn":{}}]}},{"get":{"prefix":"d","count_only":true}}]}
    """

  private static var response: Etcdserverpb_TxnResponse {
    func key(_ name: String) -> Mvccpb_KeyValue {
      .with {
        $0.key = Data(name.utf8)
        $0.value = Data([0xff, 0x00])
        $0.modRevision = 7
      }
    }
    return .with {
      $0.header.revision = 9
      $0.succeeded = true
      $0.responses = [
        .with { $0.responsePut.prevKv = key("a") },
        .with { $0.responseRange.kvs = [key("a")] },
        .with {
          $0.responseRange.kvs = [key("b1"), key("b2")]
          $0.responseRange.more = true
          $0.responseRange.count = 5
        },
        .with { $0.responseDeleteRange.deleted = 3 },
        .with {
          $0.responseTxn.responses = [
            .with { $0.responseRange = .init() }, .with { $0.responseTxn.succeeded = true },
          ]
        },
        .with { $0.responseRange.count = 4 },
      ]
    }
  }

  private static func shape() throws -> TxnShape {
    var message = ByteBuffer()
    return try Array(request.utf8).withUnsafeBytes { try TxnReader.read($0, into: &message, most: 100) }
  }

  /// The answer to a message that comes in pieces of `size` bytes.
  private func answer(_ message: [UInt8], _ shape: TxnShape, pieces size: Int) throws -> [UInt8] {
    var events = ProtobufPushParser(length: message.count, messages: TxnAnswer.messages(of: shape))
    var answer = try TxnAnswer(shape, MemoryAccount(bytes: 1 << 20))
    var json = ByteBuffer()
    for start in stride(from: 0, to: message.count, by: size) {
      message[start..<min(start + size, message.count)].withUnsafeBytes { piece in
        var input = piece
        while !answer.isBroken, let event = events.next(&input) { answer.take(event, into: &json) }
      }
    }
    try events.finish()
    try answer.finish(into: &json)
    return json.withUnsafeBytes { Array($0) }
  }

  @Test func nothingDependsOnThePieces() throws {
    let (message, shape): ([UInt8], TxnShape) = (try Self.response.serializedBytes(), try Self.shape())
    let key = #""value_base64":"/wA=","create_revision":0,"mod_revision":7,"version":0,"lease":"0"}"#
    let expected = """
      {"revision":9,"succeeded":true,"responses":[{"put":{"revision":9,"prev":{"key":"a",\(key)}},\
      {"get":{"key":"a",\(key)},\
      {"get":{"revision":9,"keys":[{"key":"b1",\(key),{"key":"b2",\(key)],"count":5,"more":true}},\
      {"delete":{"deleted":3,"revision":9}},\
      {"txn":{"revision":9,"succeeded":false,"responses":[{"get":null},\
      {"txn":{"revision":9,"succeeded":true,"responses":[]}}]}},\
      {"get":{"revision":9,"count":4}}]}
      """
    for size in [1, 2, 3, 7, message.count] {
      let answer = try answer(message, shape, pieces: size)
      #expect(String(decoding: answer, as: UTF8.self) == expected)
    }
  }

  /// An answer that does not fit the request is an error, and never one that clients cannot read.
  @Test func aBrokenAnswerIsAnErrorOrJSON() throws {
    var generator = SeededGenerator(seed: 3)
    let (sound, shape): ([UInt8], TxnShape) = (try Self.response.serializedBytes(), try Self.shape())
    var broken = 0
    for round in 0..<5000 {
      var message = sound
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let place = Int.random(in: 0..<message.count, using: &generator)
        switch round % 3 {
        case 0: message[place] = UInt8.random(in: 0...255, using: &generator)
        case 1: message.remove(at: place)
        default: message.insert(contentsOf: message[place...].prefix(20), at: place)
        }
      }
      do {
        _ = try JSON(parsing: try answer(message, shape, pieces: 5))
      } catch is WireError {
        broken += 1
      }
    }
    #expect(broken > 1000)
    // One operation too few, one too many, and none of the right kind.
    for responses in [
      Self.response.responses.dropLast(), Self.response.responses + [.init()], Self.response.responses.reversed(),
    ] {
      var other = Self.response
      other.responses = Array(responses)
      #expect(throws: WireError.self) {
        try answer(try other.serializedBytes(), shape, pieces: 50)
      }
    }
  }
}
