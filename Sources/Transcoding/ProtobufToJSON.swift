package import ByteBuffers
internal import Glibc
import ProtobufWire

/// The protobuf wire format to JSON, as it arrives: a push parser that takes the message in pieces of any size and
/// writes as much JSON as is known.
///
/// Follows protobuf's JSON mapping (ProtoJSON) as etcd's own gateway uses it: names as in the `.proto` file, zero
/// values left out unless the field has presence, 64-bit integers as strings, bytes as padded base64, enums by name (by
/// number if there is none), no white space. Unknown fields, and known ones of another wire type, are skipped.
///
/// Output cannot be taken back, so members have the order of the wire. Serializers write fields in the order of their
/// numbers and each field once, and nothing else is supported: a message is refused if a field occurs a second time, a
/// repeated one after other fields, or a second field of a oneof (in protobuf the last one wins, or they are merged).
///
/// It holds no more of the input than one incomplete number or character; bytes and strings of any length pass through.
package struct ProtobufToJSON: ~Copyable, @unchecked Sendable {
  /// How deep messages may nest, the outermost and skipped groups included.
  static let maximumDepth = 64

  /// The innermost message in progress, and the ones around it, from the outermost on: nearly all nest no deeper.
  private var frame: Frame
  private var outer = InlineArray<3, Frame>(repeating: Frame(table: nil))
  // Invariant (and why it is Sendable): null, or memory from `malloc` for the frames of the depths beyond `outer`,
  // that only this value refers to; those of the messages around `frame` are initialised. A frame needs no more
  // alignment than `malloc` gives.
  private var deeper: UnsafeMutablePointer<Frame>?
  private var depth = 1
  /// How many bytes of the message have been processed.
  private var position = 0
  private var state = State.field
  /// The end of the packed, bytes, string or skipped field in progress.
  private var contentEnd = 0
  private var packed: UnsafePointer<FieldTable>?
  /// The field that a fault is about.
  private var culprit: UnsafePointer<FieldTable>?
  private var hasStarted = false
  /// The beginning of an item that is incomplete, and room for the rest of it.
  private var carry = InlineArray<32, UInt8>(repeating: 0)
  private var carryCount = 0

  private enum State { case field, packed, bytes, string, skipped }

  /// A message in progress, or a group that is skipped.
  private struct Frame {
    /// Null in a group.
    var table: UnsafePointer<MessageTable>?
    /// The position at which it must end; unknown for the outermost message.
    var end = Int.max
    /// The field of the surrounding message whose value this is.
    var field: UnsafePointer<FieldTable>?
    var group: UInt32 = 0
    /// The fields that have occurred.
    var seen: UInt64 = 0
    /// The repeated field whose array is open, and the index of its last element.
    var array: UnsafePointer<FieldTable>?
    var index = 0
    var isFirst = true
  }

  /// Makes a converter for messages of this type, one after the other.
  package init(_ message: Schema.Message) {
    frame = Frame(table: message.table)
  }

  deinit { free(deeper) }

  /// Takes the next bytes of the message and appends their JSON to `output`.
  ///
  /// - Throws: `TranscodingError` if the bytes are no such message; the converter must not be used any more then.
  package mutating func push(
    _ bytes: UnsafeRawBufferPointer, into output: inout ByteBuffer
  ) throws(TranscodingError) {
    guard !bytes.isEmpty else { return }
    start(&output)
    let first = bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
    let end = first + bytes.count
    do {
      let rest = try resume(first, end, into: &output)
      guard carryCount == 0 else { return }
      let stop = try run(rest, end, once: false, into: &output)
      carryCount = end - stop
      for index in 0..<carryCount { carry[index] = stop[index] }
    } catch {
      throw located(error)
    }
  }

  /// Completes the document. The converter is then ready for the next message of the type.
  ///
  /// - Throws: `TranscodingError` if the message is incomplete; the converter must not be used any more then.
  package mutating func finish(into output: inout ByteBuffer) throws(TranscodingError) {
    start(&output)
    guard carryCount == 0, depth == 1, state == .field else {
      throw located(Fault(reason: .unexpectedEnd, offset: position + carryCount))
    }
    closeArray(&output)
    output.append(UInt8(ascii: "}"))
    frame = Frame(table: frame.table)
    position = 0
    hasStarted = false
  }

  private mutating func start(_ output: inout ByteBuffer) {
    guard !hasStarted else { return }
    hasStarted = true
    output.append(UInt8(ascii: "{"))
  }

  /// Completes the carried item with the first of the new bytes; returns where the rest of them begin.
  private mutating func resume(
    _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, into output: inout ByteBuffer
  ) throws(Fault) -> UnsafePointer<UInt8> {
    let next = start
    while carryCount > 0 {
      let old = carryCount
      let added = min(carry.count - old, end - next)
      for index in 0..<added { carry[old + index] = next[index] }
      // A copy, because `run` must not have a pointer into the value that it changes.
      let bytes = carry
      let taken = try bytes.span.withUnsafeBufferPointer { bytes throws(Fault) in
        let first = bytes.baseAddress.unsafelyUnwrapped
        return try run(first, first + old + added, once: true, into: &output) - first
      }
      if taken == 0 {
        // No item is as long as the carry.
        carryCount = old + added
        return end
      }
      guard taken < old else {
        carryCount = 0
        return next + (taken - old)
      }
      // An invalid byte of a string; the ones after it may be valid.
      for index in taken..<old { carry[index - taken] = carry[index] }
      carryCount = old - taken
    }
    return next
  }

  // MARK: The parser

  /// Processes as many items as are complete, or only the first one if `once`; returns where it stopped.
  private mutating func run(
    _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, once: Bool, into output: inout ByteBuffer
  ) throws(Fault) -> UnsafePointer<UInt8> {
    var at = start
    while true {
      switch state {
      case .field:
        while position == frame.end { try endMessage(&output) }
        guard at < end, let next = try field(at, end, into: &output) else { return at }
        position += next - at
        at = next
      case .packed:
        guard position < contentEnd else {
          state = .field
          continue
        }
        guard at < end, let next = try element(at, end, into: &output) else { return at }
        position += next - at
        at = next
      case .bytes, .string, .skipped:
        let next = moreContent(at, end, into: &output)
        position += next - at
        at = next
        guard position == contentEnd else { return at }
        if state != .skipped { output.append(UInt8(ascii: "\"")) }
        state = .field
      }
      if once && at > start { return at }
    }
  }

  /// Processes a field: all of a number, the head of anything else. Null if it is incomplete.
  @inline(__always)
  private mutating func field(
    _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, into output: inout ByteBuffer
  ) throws(Fault) -> UnsafePointer<UInt8>? {
    let room = frame.end - position
    var input = WireReader(start, room < end - start ? start + room : end, isCut: room > end - start)
    guard let tag = try input.tag(inFieldAt: position) else { return nil }
    let field = frame.table?.pointee.field(number: tag.number)

    switch tag.wireType {
    case .varint, .fixed32, .fixed64:
      guard let raw = try input.number(tag.wireType, inFieldAt: position) else { return nil }
      if let field, field.pointee.wireType == tag.wireType { try scalar(raw, field, into: &output) }
    case .lengthDelimited:
      guard let length = try input.number(.varint, inFieldAt: position) else { return nil }
      let head = input.at - start
      guard length <= UInt64(Int32.max), Int(length) <= room - head else {
        throw Fault(reason: .overrun, offset: position)
      }
      contentEnd = position + head + Int(length)
      try beginContent(field, from: position + head, into: &output)
    case .startGroup:
      // proto3 messages have no groups: it is skipped.
      try push(Frame(table: nil, end: frame.end, group: tag.number))
    case .endGroup:
      guard frame.table == nil, frame.group == tag.number else {
        throw Fault(reason: .unmatchedGroup, offset: position)
      }
      pop()
    }
    return input.at
  }

  /// Processes an element of a packed field. Null if it is incomplete.
  private mutating func element(
    _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, into output: inout ByteBuffer
  ) throws(Fault) -> UnsafePointer<UInt8>? {
    let field = packed.unsafelyUnwrapped
    let room = contentEnd - position
    var input = WireReader(start, room < end - start ? start + room : end, isCut: room > end - start)
    guard let raw = try input.number(field.pointee.wireType, inFieldAt: position) else { return nil }
    try scalar(raw, field, into: &output)
    return input.at
  }

  /// Writes a number, bool or enum.
  @inline(__always)
  private mutating func scalar(
    _ raw: UInt64, _ field: UnsafePointer<FieldTable>, into output: inout ByteBuffer
  ) throws(Fault) {
    if JSONWriter.isZero(raw, field.pointee.kind) && !field.pointee.hasPresence && !field.pointee.isRepeated {
      try mark(field)
    } else {
      try beginValue(field, into: &output)
      JSONWriter.scalar(raw, field, to: &output)
    }
  }

  /// Prepares for the bytes between here and `contentEnd`.
  @inline(__always)
  private mutating func beginContent(
    _ field: UnsafePointer<FieldTable>?, from contentStart: Int, into output: inout ByteBuffer
  ) throws(Fault) {
    state = .skipped
    guard let field else { return }
    switch field.pointee.kind {
    case .message:
      try beginValue(field, into: &output)
      try push(Frame(table: field.pointee.message, end: contentEnd, field: field))
      output.append(UInt8(ascii: "{"))
      state = .field
    case .string, .bytes:
      guard contentEnd > contentStart || field.pointee.hasPresence || field.pointee.isRepeated else {
        return try mark(field)
      }
      try beginValue(field, into: &output)
      output.append(UInt8(ascii: "\""))
      state = field.pointee.kind == .string ? .string : .bytes
    default:
      guard field.pointee.isRepeated else { return }
      packed = field
      state = .packed
    }
  }

  /// Passes on as much of a string, bytes or skipped field as has come; returns where it stopped, which is at most
  /// three bytes before the end.
  @inline(__always)
  private func moreContent(
    _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, into output: inout ByteBuffer
  ) -> UnsafePointer<UInt8> {
    let room = contentEnd - position
    let isEnd = room <= end - start
    let stop = isEnd ? start + room : end
    switch state {
    case .string: return JSONWriter.text(start, stop, isEnd: isEnd, to: &output)
    case .bytes:
      let count = isEnd ? room : (stop - start) / 3 * 3
      Base64.encode(start, count, to: output.reserve(Base64.encodedCount(count)))
      output.commit(Base64.encodedCount(count))
      return start + count
    default: return stop
    }
  }

  // MARK: Structure

  /// Notes that a field has occurred.
  @inline(__always)
  private mutating func mark(_ field: UnsafePointer<FieldTable>) throws(Fault) {
    if frame.seen & field.pointee.exclusive != 0 { throw repeated(field) }
    frame.seen |= field.pointee.bit
  }

  @inline(never)
  private mutating func repeated(_ field: UnsafePointer<FieldTable>) -> Fault {
    culprit = field
    let isSame = frame.seen & field.pointee.bit != 0
    return Fault(reason: isSame ? .duplicateField : .oneofAlreadySet, offset: position)
  }

  /// Writes what precedes a value: the name, or the comma after the previous element.
  @inline(__always)
  private mutating func beginValue(_ field: UnsafePointer<FieldTable>, into output: inout ByteBuffer) throws(Fault) {
    if frame.array == field {
      frame.index += 1
      output.append(UInt8(ascii: ","))
      return
    }
    try mark(field)
    closeArray(&output)
    JSONWriter.label(field, isFirst: frame.isFirst, to: &output)
    frame.isFirst = false
    guard field.pointee.isRepeated else { return }
    frame.array = field
    frame.index = 0
    output.append(UInt8(ascii: "["))
  }

  @inline(__always)
  private mutating func closeArray(_ output: inout ByteBuffer) {
    guard frame.array != nil else { return }
    frame.array = nil
    output.append(UInt8(ascii: "]"))
  }

  @inline(__always)
  private mutating func push(_ inner: Frame) throws(Fault) {
    if depth <= outer.count {
      outer[depth - 1] = frame
    } else {
      try pushDeeper()
    }
    frame = inner
    depth += 1
  }

  @inline(never)
  private mutating func pushDeeper() throws(Fault) {
    guard depth < Self.maximumDepth else { throw Fault(reason: .tooDeep, offset: position) }
    if deeper == nil {
      let count = Self.maximumDepth - outer.count
      guard let memory = malloc(count * MemoryLayout<Frame>.stride) else { fatalError("out of memory") }
      deeper = memory.assumingMemoryBound(to: Frame.self)
    }
    (deeper.unsafelyUnwrapped + (depth - 1 - outer.count)).initialize(to: frame)
  }

  @inline(__always)
  private mutating func pop() {
    depth -= 1
    frame = around(depth - 1)
  }

  /// The message at a level around the innermost one.
  @inline(__always)
  private func around(_ level: Int) -> Frame {
    level < outer.count ? outer[level] : deeper.unsafelyUnwrapped[level - outer.count]
  }

  private mutating func endMessage(_ output: inout ByteBuffer) throws(Fault) {
    guard frame.table != nil else { throw Fault(reason: .unmatchedGroup, offset: position) }
    closeArray(&output)
    output.append(UInt8(ascii: "}"))
    pop()
  }

  // MARK: Faults

  @inline(never)
  private func located(_ fault: Fault) -> TranscodingError {
    var path = ""
    func append(_ field: UnsafePointer<FieldTable>, _ index: Int?) {
      path += (path.isEmpty ? "" : ".") + field.pointee.name
      if field.pointee.isRepeated, let index { path += "[\(index)]" }
    }
    for level in 1..<depth {
      let field = level == depth - 1 ? frame.field : around(level).field
      if let field { append(field, around(level - 1).index) }
    }
    if let culprit { append(culprit, nil) }
    return TranscodingError(reason: fault.reason, path: path, offset: fault.offset)
  }
}

// The same with the error of the transcoder.
extension WireReader {
  @inline(__always)
  fileprivate mutating func tag(inFieldAt offset: Int) throws(Fault) -> WireTag? {
    do throws(WireError) { return try tag() } catch { throw Fault(error, offset: offset) }
  }

  @inline(__always)
  fileprivate mutating func number(_ wireType: WireType, inFieldAt offset: Int) throws(Fault) -> UInt64? {
    do throws(WireError) { return try number(wireType) } catch { throw Fault(error, offset: offset) }
  }
}
