import ByteBuffers
import EtcdSchema
import ProtobufWire
import Testing

@testable import Transcoding

/// What stock etcd writes, and what no sane server sends.
@Suite struct ProtobufToJSONTests {
  static let range = "etcdserverpb.RangeResponse"

  struct Row: CustomTestStringConvertible, Sendable {
    let wire: [UInt8]
    let name: String
    let json: String
    var testDescription: String { json }

    init(_ wire: [UInt8], _ json: String, _ name: String = ProtobufToJSONTests.range) {
      (self.wire, self.name, self.json) = (wire, name, json)
    }
  }

  static let rows = [
    Row([], "{}"),
    // Names as written, 64-bit integers as strings, no spaces.
    Row([0x0a, 2, 0x18, 5, 0x20, 3], #"{"header":{"revision":"5"},"count":"3"}"#),
    Row([0x08, 7, 0x22, 1, 0x61, 0x28, 1], #"{"ID":"7","clientURLs":["a"],"isLearner":true}"#, "etcdserverpb.Member"),
    Row(
      [0x08] + [UInt8](repeating: 0xff, count: 9) + [1, 0x10, 0xff, 1],
      #"{"ID":"-1","remaining_TTL":"255"}"#, "etcdserverpb.LeaseCheckpoint"),
    Row(
      [0x08] + [UInt8](repeating: 0xff, count: 9) + [1], #"{"ID":"18446744073709551615"}"#,
      "etcdserverpb.MemberRemoveRequest"),
    Row([0x10, 0xff, 0xff, 0xff, 0xff, 0x0f], #"{"hash":4294967295}"#, "etcdserverpb.HashResponse"),
    Row([0x18, 2], #"{"created":false}"#.replacing("false", with: "true"), "etcdserverpb.WatchResponse"),
    // Zero values, even if they are on the wire.
    Row([0x18, 0, 0x20, 0], "{}"), Row([0x0a, 0], #"{"header":{}}"#), Row([0x12, 0], #"{"kvs":[{}]}"#),
    Row([0x0a, 0, 0x2a, 0], "{}", "mvccpb.KeyValue"), Row([0x08, 0], "{}", "mvccpb.Event"),
    Row([0x12, 0], "{}", "etcdserverpb.AuthenticateResponse"), Row([0x10, 0x80, 0], "{}", "etcdserverpb.HashResponse"),
    // Except members of a oneof.
    Row([0x20, 0], #"{"version":"0"}"#, "etcdserverpb.Compare"),
    Row([0x3a, 0], #"{"value":""}"#, "etcdserverpb.Compare"),
    // Bytes as standard padded base64.
    Row([0x0a, 1, 0xfb, 0x2a, 2, 0xff, 0xff], #"{"key":"+w==","value":"//8="}"#, "mvccpb.KeyValue"),
    Row([0x2a, 3, 0x66, 0x6f, 0x6f], #"{"value":"Zm9v"}"#, "mvccpb.KeyValue"),
    Row([0x2a, 0, 0x2a, 1, 0x61], #"{"keys":["","YQ=="]}"#, "etcdserverpb.LeaseTimeToLiveResponse"),
    // Enums as names, a put without a type; numbers that have no name.
    Row([0x08, 1, 0x12, 0], #"{"type":"DELETE","kv":{}}"#, "mvccpb.Event"),
    Row([0x08, 9], #"{"type":9}"#, "mvccpb.Event"),
    Row([0x08] + [UInt8](repeating: 0xff, count: 9) + [1], #"{"type":-1}"#, "mvccpb.Event"),
    // Repeated numbers, packed and not.
    Row([0x2a, 3, 0, 1, 7], #"{"filters":["NOPUT","NODELETE",7]}"#, "etcdserverpb.WatchCreateRequest"),
    Row([0x28, 0, 0x28, 1], #"{"filters":["NOPUT","NODELETE"]}"#, "etcdserverpb.WatchCreateRequest"),
    Row(
      [0x28, 0, 0x2a, 1, 1, 0x30, 1], #"{"filters":["NOPUT","NODELETE"],"prev_kv":true}"#,
      "etcdserverpb.WatchCreateRequest"),
    Row([0x2a, 0, 0x30, 1], #"{"prev_kv":true}"#, "etcdserverpb.WatchCreateRequest"),
    // Out of order.
    Row([0x20, 3, 0x0a, 2, 0x18, 5], #"{"count":"3","header":{"revision":"5"}}"#),
    // Unknown fields and groups, and known fields of another wire type.
    Row(
      [0x98, 6, 1, 0x9a, 6, 2, 1, 2, 0x9d, 6, 1, 2, 3, 4, 0x99, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0x20, 1], #"{"count":"1"}"#),
    Row([0x9b, 6, 0x0a, 1, 0, 0x13, 0x14, 0x9c, 6, 0x20, 1], #"{"count":"1"}"#),
    Row([0x25, 1, 0, 0, 0, 0x10, 1, 0x22, 1, 1, 0x23, 0x24, 0x18, 1], #"{"more":true}"#),
    Row([0x12, 0, 0x98, 6, 1, 0x12, 0], #"{"kvs":[{},{}]}"#),
    Row([0x12, 0, 0x18, 0, 0x12, 0], #"{"kvs":[{},{}]}"#),
  ]

  @Test(arguments: rows)
  func writes(_ row: Row) throws {
    #expect(try decode(row.wire, as: row.name) == row.json)
    #expect(try decode(row.wire.map { [$0] }, as: row.name) == row.json)
  }

  /// As measured on etcd 3.4.23 and 3.5.1 with `/v3/auth/role/list`.
  @Test(arguments: [
    ("a<b>&c", #"a\u003cb\u003e\u0026c"#), ("\u{2028}x\u{2029}", #"\u2028x\u2029"#),
    ("ctl\u{1}\u{8}\u{c}\n\r\t\u{1f}\u{7f}", "ctl\\u0001\\u0008\\u000c\\n\\r\\t\\u001f\u{7f}"),
    ("q\"\\/", #"q\"\\/"#), ("é😀\u{2027}", "é😀\u{2027}"), ("a\0b", #"a\u0000b"#),
  ])
  func escapesAsStockDoes(_ text: String, _ json: String) throws {
    let wire = [0x12, UInt8(text.utf8.count)] + Array(text.utf8)
    for pieces in [[wire], wire.map { [$0] }] {
      #expect(try decode(pieces, as: "etcdserverpb.AuthRoleListResponse") == #"{"roles":["\#(json)"]}"#)
    }
  }

  @Test(
    arguments: [
      ([0x61, 0xff, 0xe2, 0x82], "a\\ufffd\\ufffd\\ufffd"), ([0xe2, 0x82, 0x41], "\\ufffd\\ufffdA"),
      ([0xed, 0xa0, 0x80], "\\ufffd\\ufffd\\ufffd"), ([0xf0, 0x9f, 0x98, 0xc3, 0xa9], "\\ufffd\\ufffd\\ufffdé"),
      ([0xc3], "\\ufffd"), ([0xf0, 0xf0, 0x9f, 0x98, 0x80], "\\ufffd😀"),
    ] as [([UInt8], String)])
  func invalidUTF8BecomesReplacementCharacters(_ bytes: [UInt8], _ json: String) throws {
    let wire = [0x12, UInt8(bytes.count)] + bytes + [0x12, 1, 0x7a]
    for pieces in [[wire], wire.map { [$0] }, [Array(wire[..<5]), Array(wire[5...])]] {
      #expect(try decode(pieces, as: "etcdserverpb.AuthRoleListResponse") == #"{"roles":["\#(json)","z"]}"#)
    }
  }

  @Test(
    arguments: [
      // Cut short.
      ([0x0a], .unexpectedEnd, "", 1), ([0x0a, 2, 0x18], .unexpectedEnd, "header", 3),
      ([0x20, 0x80], .unexpectedEnd, "", 2),
      ([0x12, 4, 0x0a, 2, 0x61], .unexpectedEnd, "kvs[0]", 4 + 1), ([0x9b, 6], .unexpectedEnd, "", 2),
      // Longer than the surrounding message.
      ([0x0a, 1, 0x18], .overrun, "header", 2), ([0x0a, 2, 0x18, 0x80, 1], .overrun, "header", 2),
      ([0x12, 3, 0x0a, 2, 0x61, 0x61], .overrun, "kvs[0]", 2),
      ([0x9b, 6, 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 1], .overrun, "", 2),
      // Tags and varints.
      ([0x00, 0], .malformedTag, "", 0), ([0x07], .malformedTag, "", 0), ([0x26], .malformedTag, "", 0),
      ([0x80, 0x80, 0x80, 0x80, 0x10], .malformedTag, "", 0),
      ([0x20] + [UInt8](repeating: 0xff, count: 10), .malformedVarint, "", 0),
      ([0x20] + [UInt8](repeating: 0xff, count: 9) + [2], .malformedVarint, "", 0),
      // Groups.
      ([0x0c], .unmatchedGroup, "", 0), ([0x13, 0x1c], .unmatchedGroup, "", 1),
      ([0x0a, 1, 0x13], .unmatchedGroup, "header", 3),
      // A field twice.
      ([0x20, 1, 0x20, 1], .duplicateField, "count", 2), ([0x20, 0, 0x20, 1], .duplicateField, "count", 2),
      ([0x0a, 0, 0x0a, 0], .duplicateField, "header", 2), ([0x12, 0, 0x20, 1, 0x12, 0], .duplicateField, "kvs", 4),
      ([0x12, 0, 0x12, 4, 0x10, 1, 0x10, 1], .duplicateField, "kvs[1].create_revision", 6),
    ] as [([UInt8], TranscodingError.Reason, String, Int)])
  func refuses(_ wire: [UInt8], _ reason: TranscodingError.Reason, _ path: String, _ offset: Int) throws {
    let expected = TranscodingError(reason: reason, path: path, offset: offset)
    #expect(try fault(wire, as: Self.range) == expected)
    #expect(throws: expected) { try decode(wire.map { [$0] }, as: Self.range) }
    #expect(expected.isIncomplete == (reason == .unexpectedEnd))
  }

  @Test func twoMembersOfAOneofAreRefused() throws {
    #expect(try fault([0x20, 1, 0x28, 1], as: "etcdserverpb.Compare").reason == .oneofAlreadySet)
  }

  @Test func nestingIsLimited() throws {
    /// Transactions within each other, each two messages deep.
    func transactions(_ depth: Int) -> [UInt8] {
      var wire: [UInt8] = []
      for _ in 0..<depth {
        for tag: UInt8 in [0x22, 0x12] { wire = [tag] + varint(wire.count) + wire }
      }
      return wire
    }
    func varint(_ value: Int) -> [UInt8] {
      value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7f) | 0x80] + varint(value >> 7)
    }
    #expect(throws: Never.self) { try decode(transactions(31), as: "etcdserverpb.TxnRequest") }
    #expect(try fault(transactions(32), as: "etcdserverpb.TxnRequest").reason == .tooDeep)
    #expect(
      try fault([UInt8](repeating: 0x13, count: 100_000), as: Self.range)
        == .init(reason: .tooDeep, path: "", offset: 63))
  }

  @Test func oneConverterDoesMessageAfterMessage() throws {
    var converter = ProtobufToJSON(try message(Self.range))
    var output = ByteBuffer()
    for _ in 0..<2 {
      for byte in [0x12, 0, 0x20, 1] as [UInt8] {
        try withUnsafeBytes(of: byte) { try converter.push($0, into: &output) }
      }
      try converter.finish(into: &output)
    }
    #expect(
      output.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        == #"{"kvs":[{}],"count":"1"}{"kvs":[{}],"count":"1"}"#)
  }

  @Test func bytesStreamThrough() throws {
    var converter = ProtobufToJSON(try message("mvccpb.KeyValue"))
    var output = ByteBuffer()
    let piece = [UInt8](repeating: 0x61, count: 1000)
    // A value of 16 MiB, of which no more than a piece and its base64 is ever held.
    var sent = 0
    var received = 0
    try ([0x2a, 0x80, 0x80, 0x80, 8] as [UInt8]).withUnsafeBytes { try converter.push($0, into: &output) }
    while sent < 1 << 24 {
      let count = min(piece.count, 1 << 24 - sent)
      try piece[..<count].withUnsafeBytes { try converter.push($0, into: &output) }
      sent += count
      #expect(output.count <= 1400)
      received += output.count
      output.removeAll(keepingCapacity: true)
    }
    try converter.finish(into: &output)
    #expect(received + output.count == #"{"value":""}"#.utf8.count + ((1 << 24) + 2) / 3 * 4)
  }
}
