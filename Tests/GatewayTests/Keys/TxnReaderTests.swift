import ByteBuffers
import ProtobufWire
import TestSupport
import Testing
import Transcoding

@testable import Gateway

/// How transactions in plain JSON are read.
@Suite struct TxnReaderTests {
  private func read(_ json: String, most: Int = 100) throws -> TxnShape {
    var message = ByteBuffer()
    return try Array(json.utf8).withUnsafeBytes { try TxnReader.read($0, into: &message, most: most) }
  }

  /// What follows the fourth of these, wherever it is, is not even read.
  @Test(arguments: [
    (#"{"then":[GET,GET,GET,GET,?"#, "then[4]"),
    (#"{"if":[IS,IS],"then":[GET],"else":[GET,?"#, "else[1]"),
    (#"{"if":[IS,IS,IS,IS,?"#, "if[4]"),
    (#"{"then":[{"txn":{"then":[GET,{"txn":{"if":[IS,?"#, "then[0].txn.then[1].txn.if[1]"),
    (#"{"then":[{"txn":{}},{"txn":{}},{"txn":{}},{"txn":{}},?"#, "then[4]"),
  ])
  func aTransactionHasABoundOfOperations(_ json: String, _ path: String) throws {
    let json = json.replacing("GET", with: #"{"get":{"key":"a"}}"#)
      .replacing("IS", with: #"{"key":"a","version":0}"#)
    let error = try #require(throws: TranscodingError.self) { try read(json, most: 4) }
    let expected = "\(path): a transaction has at most 4 comparisons and operations (--max-txn-ops) (at byte "
    #expect("\(error)".hasPrefix(expected), "\(error)")
  }

  @Test func asManyAsTheBoundAreRead() throws {
    let get = #"{"get":{"key":"a"}}"#
    let shape = try read(#"{"then":[\#(get),{"txn":{"else":[\#(get)]}}],"else":[\#(get)]}"#, most: 4)
    #expect(shape.then.count == 2 && shape.otherwise.count == 1 && shape.depth == 1)
    let many = Array(repeating: get, count: TxnReader.maxOperations)
    #expect(try read(#"{"then":[\#(many.joined(separator: ","))]}"#, most: many.count).then.count == many.count)
  }

  /// Names are compared by their unescaped bytes.
  @Test func aNameIsWhatItSays() throws {
    #expect(try read(#"{"\u0074hen":[{"g\u0065t":{"k\u0065\u0079":"a"}}]}"#).then.count == 1)
    for (json, message) in [
      (#"{"then":[],"\u0074hen":[]}"#, "then: the field occurs twice"),
      (#"{"the":[]}"#, "the: unknown field: expected one of if, then, else"), (#"{"":[]}"#, "unknown field"),
      (#"{"thenn":[]}"#, "thenn: unknown field"), (#"{"thene":[]}"#, "thene: unknown field"),
      (#"{"\u0074\u0074\u0074\u0074\u0074":[]}"#, "unknown field"),
      ("{\"\(String(repeating: "\\u0074", count: 100))\":[]}", "unknown field"),
      (#"{"then":[{"delete":{"limit":5}}]}"#, "then[0].delete.limit: unknown field: expected one of key,"),
    ] {
      let error = try #require(throws: TranscodingError.self) { try read(json) }
      #expect("\(error)".contains(message), "\(json): \(error)")
    }
  }

  @Test func whatIsRefusedInATransactionIsNotToldOf() throws {
    let error = try #require(throws: TranscodingError.self) { try read(#"{"then":[{"put":{"size":1}}]}"#) }
    #expect(
      "\(error)" == """
        then[0].put.size: unknown field: expected one of key, key_base64, value, value_base64, lease, prev (at byte 17)
        """)
    for name in ["ttl", "if_absent", "if_mod_revision"] {
      let refusal = try #require(throws: TranscodingError.self) { try read(#"{"then":[{"put":{"\#(name)":1}}]}"#) }
      #expect("\(refusal)".hasPrefix("then[0].put.\(name): a transaction "), "\(refusal)")
    }
  }
}
