internal import EtcdSchema
import ProtobufWire

/// A `TxnResponse` to a transaction of reads, cut into the answers that each read would have had alone. The values are
/// neither read nor copied.
///
/// The header of a response within a transaction has only a revision (measured: 3.4.23, 3.5.30). Its other fields are
/// taken from the outer header.
struct BatchAnswer {
  /// A `RangeResponse` without its header.
  struct Part {
    let revision: UInt64
    let rest: Range<Int>
  }

  /// etcd's headers are not larger.
  private static let maxHeader = 256
  /// How many bytes ``withHeader(of:in:_:)`` adds at most: the tag and length of the header, and those of the revision.
  private static let overhead = 16

  private(set) var parts = ContiguousArray<Part>()
  /// The outer header's fields before its revision, and those after it.
  private var before = 0..<0
  private var behind = 0..<0
  private var hasHeader = false
  private var hasSucceeded = false

  /// Parses a message.
  ///
  /// - Parameters:
  ///   - bytes: the whole message.
  ///   - count: how many reads the transaction had.
  /// - Throws: ``WireError`` if the message is no answer to them.
  init(_ bytes: UnsafeRawBufferPointer, count: Int) throws(WireError) {
    parts.reserveCapacity(count)
    var fields = ProtobufPullParser(bytes, in: 0..<bytes.count)
    while let field = try fields.next() {
      switch field.number {
      case Etcdserverpb_TxnResponse.Field.header: try takeHeader(bytes, field.content)
      case Etcdserverpb_TxnResponse.Field.succeeded: hasSucceeded = field.value == 1
      case Etcdserverpb_TxnResponse.Field.responses: parts.append(try Self.part(bytes, field.content))
      default: throw .unexpectedFields
      }
    }
    guard hasHeader, hasSucceeded, parts.count == count else { throw .unexpectedFields }
  }

  private mutating func takeHeader(
    _ bytes: UnsafeRawBufferPointer, _ content: Range<Int>
  ) throws(WireError) {
    guard !hasHeader, !content.isEmpty, content.count <= Self.maxHeader else { throw .unexpectedFields }
    hasHeader = true
    before = content.lowerBound..<content.lowerBound
    behind = content.upperBound..<content.upperBound
    var last = 0
    var fields = ProtobufPullParser(bytes, in: content)
    while let field = try fields.next() {
      guard field.number > last else { throw .unexpectedFields }
      last = field.number
      if field.number < Etcdserverpb_ResponseHeader.Field.revision {
        before = before.lowerBound..<field.whole.upperBound
      } else if field.number > Etcdserverpb_ResponseHeader.Field.revision {
        behind = min(behind.lowerBound, field.whole.lowerBound)..<content.upperBound
      }
    }
  }

  /// A `ResponseOp` that has a `RangeResponse`.
  private static func part(
    _ bytes: UnsafeRawBufferPointer, _ content: Range<Int>
  ) throws(WireError) -> Part {
    var operations = ProtobufPullParser(bytes, in: content)
    guard let operation = try operations.next(),
      operation.number == Etcdserverpb_ResponseOp.Field.responseRange, operation.whole == content
    else { throw .unexpectedFields }
    // etcd writes fields in their order.
    var fields = ProtobufPullParser(bytes, in: operation.content)
    guard let header = try fields.next(), header.number == Etcdserverpb_RangeResponse.Field.header else {
      throw .unexpectedFields
    }
    var members = ProtobufPullParser(bytes, in: header.content)
    guard let revision = try members.next(), revision.number == Etcdserverpb_ResponseHeader.Field.revision,
      revision.value > 0, revision.whole == header.content
    else { throw .unexpectedFields }
    return Part(revision: revision.value, rest: header.whole.upperBound..<operation.content.upperBound)
  }

  /// Calls `body` with the complete header of a response, as a field of its `RangeResponse`.
  ///
  /// - Parameter bytes: the message that was parsed.
  func withHeader<Result>(
    of part: Part, in bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Result
  ) -> Result {
    withUnsafeTemporaryAllocation(byteCount: Self.maxHeader + Self.overhead, alignment: 1) { buffer in
      var at = 0
      func append(_ byte: UInt8) {
        buffer[at] = byte
        at += 1
      }
      func append(_ piece: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: buffer[at...]).copyMemory(from: piece)
        at += piece.count
      }
      let count = before.count + 1 + Varint.count(of: part.revision) + behind.count
      append(1 << 3 | WireType.lengthDelimited.rawValue)
      Varint.encode(UInt64(count)) { append($0) }
      append(UnsafeRawBufferPointer(rebasing: bytes[before]))
      append(3 << 3 | WireType.varint.rawValue)
      Varint.encode(part.revision) { append($0) }
      append(UnsafeRawBufferPointer(rebasing: bytes[behind]))
      return body(UnsafeRawBufferPointer(rebasing: buffer[..<at]))
    }
  }
}
