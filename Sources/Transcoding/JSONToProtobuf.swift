package import ByteBuffers
import ProtobufWire

/// JSON text to the protobuf wire format, in one pass from one buffer to the other.
///
/// Follows protobuf's JSON mapping (ProtoJSON): either name of a field, base64 in either alphabet, padded or not,
/// integers as numbers or strings and with exponents, enums as names or numbers, `null` for a field that is not set.
/// Unknown fields and unknown enum names are ignored, unless handling is strict. These are errors: a field that occurs
/// twice, two fields of one oneof, an enum number that the schema does not have, and what the schema's ``Schema/Rules``
/// refuse. A server may fail on input that its own schema does not foresee, so none of it is written. Fields are
/// written in the order of the JSON; zero values of fields without presence are left out; repeated numbers are packed.
///
/// The output is at most four times as long as the input: three characters of a list, `-1,`, become ten bytes. A
/// message's length precedes it, in one byte that is reserved; if it takes more bytes, the message is moved. So a byte
/// moves at most once for each level of nesting, of which there are at most `JSONReader.maximumDepth`.
package enum JSONToProtobuf {
  private static let nothing: StaticString = ""

  /// Appends the encoding of the first value of `json` to `output`. Empty input, or only white space, means the empty
  /// message.
  ///
  /// After an error `output` holds what was written so far: `truncate` it.
  ///
  /// - Parameters:
  ///   - strict: Whether unknown fields, unknown enum names and bytes after the value are errors.
  ///   - sequence: Whether more values may follow, so that bytes after the value are no error even if `strict`.
  /// - Returns: How many bytes of `json` the value took, including the white space before it.
  /// - Throws: `TranscodingError`; `isIncomplete` if `json` may be the beginning of a valid value.
  package static func encode(
    _ json: UnsafeRawBufferPointer, as message: Schema.Message, strict: Bool, sequence: Bool = false,
    into output: inout ByteBuffer
  ) throws(TranscodingError) -> Int {
    // Required fields are missing from empty input, too.
    let start = json.baseAddress ?? UnsafeRawPointer(nothing.utf8Start)
    var encoder = JSONEncoder(
      reader: JSONReader(start.assumingMemoryBound(to: UInt8.self), json.count), strict: strict)
    do {
      return try encoder.document(message.table, sequence: sequence, into: &output)
    } catch {
      throw TranscodingError(
        reason: error.reason, path: encoder.path, offset: error.offset,
        detail: encoder.because?.string ?? encoder.enumeration?.pointee.listing ?? "")
    }
  }
}

/// One document that is being encoded.
struct JSONEncoder {
  var reader: JSONReader
  let strict: Bool
  /// The roles, known to rules, of fields that have occurred anywhere in the document.
  var roles: UInt64 = 0
  /// The path of the faulty field; put together while a fault is passed up.
  var path = ""
  /// What an error adds to the reason of the fault: the text of a rule, or the values of an enum.
  var because: TableText?
  var enumeration: UnsafePointer<EnumTable>?

  mutating func document(
    _ table: UnsafePointer<MessageTable>, sequence: Bool, into output: inout ByteBuffer
  ) throws(Fault) -> Int {
    let start = output.count
    if reader.skipWhiteSpace() {
      try message(table, into: &output)
    } else if table.pointee.requirements == nil {
      return reader.offset
    }
    if let requirements = table.pointee.requirements { try check(requirements, output, from: start) }
    let count = reader.offset
    if strict && !sequence && reader.skipWhiteSpace() { throw reader.fault(.trailingBytes) }
    return count
  }

  private mutating func message(
    _ table: UnsafePointer<MessageTable>, into output: inout ByteBuffer
  ) throws(Fault) {
    guard try reader.peek() == UInt8(ascii: "{") else { throw reader.fault(.expectedObject) }
    // Which fields have occurred, and which of them with a value other than `null`.
    var seen: UInt64 = 0
    var set: UInt64 = 0
    var more = try reader.beginObject()
    while more {
      let name = try reader.memberName()
      if let field = lookUp(name, in: table, scratch: &output) {
        guard seen & field.pointee.bit == 0 else { throw fault(.duplicateField, field, name) }
        seen |= field.pointee.bit
        if try reader.peek() == UInt8(ascii: "n") {
          try reader.literal("null")
        } else {
          guard set & field.pointee.exclusive == 0 else { throw fault(.oneofAlreadySet, field, name) }
          set |= field.pointee.bit
          do {
            if field.pointee.hasRule {
              try ruled(field, into: &output)
            } else if field.pointee.isRepeated {
              try array(field, into: &output)
            } else {
              try value(field, isElement: false, into: &output)
            }
          } catch {
            prepend(field.pointee.name)
            throw error
          }
        }
      } else {
        guard !strict else {
          prepend(name.excerpt)
          throw reader.fault(.unknownField, at: name.start - 1)
        }
        try reader.skipValue()
      }
      more = try reader.nextMember()
    }
  }

  /// Encodes a field that has a rule.
  @inline(never)
  private mutating func ruled(
    _ field: UnsafePointer<FieldTable>, into output: inout ByteBuffer
  ) throws(Fault) {
    let start = output.count
    if field.pointee.isRepeated {
      try array(field, into: &output)
    } else {
      try value(field, isElement: false, into: &output)
    }
    if let rule = field.pointee.rule { try check(rule, output, from: start) }
  }

  @inline(__always)
  private func lookUp(
    _ name: JSONText, in table: UnsafePointer<MessageTable>, scratch output: inout ByteBuffer
  ) -> UnsafePointer<FieldTable>? {
    guard name.hasEscapes else { return table.pointee.field(named: name.start, name.count) }
    // The free end of the output serves as scratch space.
    let target = output.reserve(name.count)
    return table.pointee.field(named: target, name.unescape(to: target))
  }

  // MARK: Values

  private mutating func array(
    _ field: UnsafePointer<FieldTable>, into output: inout ByteBuffer
  ) throws(Fault) {
    guard try reader.peek() == UInt8(ascii: "[") else { throw reader.fault(.expectedArray) }
    guard try reader.beginArray() else { return }
    let start = output.count
    let isPacked = field.pointee.isPacked
    let mark = isPacked ? beginLength(field, in: &output) : 0
    var index = 0
    repeat {
      do {
        try value(field, isElement: true, into: &output)
      } catch {
        prepend("[\(index)]")
        throw error
      }
      index += 1
    } while try reader.nextElement()
    guard isPacked else { return }
    if output.count == mark {
      // There were only unknown enum names.
      output.truncate(to: start)
    } else {
      endLength(mark, in: &output)
    }
  }

  @inline(__always)
  private mutating func value(
    _ field: UnsafePointer<FieldTable>, isElement: Bool, into output: inout ByteBuffer
  ) throws(Fault) {
    switch field.pointee.kind {
    case .bytes: try bytes(field, isElement: isElement, into: &output)
    case .string: try string(field, isElement: isElement, into: &output)
    case .message:
      let mark = beginLength(field, in: &output)
      let table = field.pointee.message.unsafelyUnwrapped
      try message(table, into: &output)
      if let requirements = table.pointee.requirements { try check(requirements, output, from: mark) }
      endLength(mark, in: &output)
    default:
      guard let number = try scalar(field, scratch: &output) else { return }
      write(number, field, isElement: isElement, into: &output)
    }
  }

  private mutating func bytes(
    _ field: UnsafePointer<FieldTable>, isElement: Bool, into output: inout ByteBuffer
  ) throws(Fault) {
    let text = try string()
    guard !text.hasEscapes else { return try escapedBytes(text, field, isElement: isElement, into: &output) }
    guard let (decoded, characters) = Base64.shape(text.start, text.count) else {
      throw reader.fault(.invalidBase64, at: text.start - 1)
    }
    guard decoded > 0 || isElement || field.pointee.hasPresence else { return }
    let target = beginBytes(decoded, field, in: &output)
    guard Base64.decode(text.start, characters, to: target) else {
      throw reader.fault(.invalidBase64, at: text.start - 1)
    }
    output.commit(decoded)
  }

  /// Decodes base64 with escaped characters, such as the slash in PHP's output.
  private mutating func escapedBytes(
    _ text: JSONText, _ field: UnsafePointer<FieldTable>, isElement: Bool, into output: inout ByteBuffer
  ) throws(Fault) {
    let mark = beginLength(field, in: &output)
    let target = output.reserve(text.count)
    let count = text.unescape(to: target)
    guard let (decoded, characters) = Base64.shape(target, count), Base64.decode(target, characters, to: target)
    else { throw reader.fault(.invalidBase64, at: text.start - 1) }
    output.commit(decoded)
    endLength(mark, in: &output)
  }

  private mutating func string(
    _ field: UnsafePointer<FieldTable>, isElement: Bool, into output: inout ByteBuffer
  ) throws(Fault) {
    let text = try string()
    if text.hasEscapes {
      let mark = beginLength(field, in: &output)
      output.commit(text.unescape(to: output.reserve(text.count)))
      endLength(mark, in: &output)
    } else if text.count > 0 || isElement || field.pointee.hasPresence {
      beginBytes(text.count, field, in: &output).update(from: text.start, count: text.count)
      output.commit(text.count)
    }
  }

  private mutating func string() throws(Fault) -> JSONText {
    guard try reader.peek() == UInt8(ascii: "\"") else { throw reader.fault(.expectedString) }
    return try reader.text()
  }

  /// The bits of a number, bool or enum on the wire; nil for an unknown enum name that is ignored.
  private mutating func scalar(
    _ field: UnsafePointer<FieldTable>, scratch output: inout ByteBuffer
  ) throws(Fault) -> UInt64? {
    switch field.pointee.kind {
    case .bool: return try bool() ? 1 : 0
    case .int64, .sfixed64: return UInt64(bitPattern: try integer(scratch: &output))
    case .uint64, .fixed64: return try integer(scratch: &output)
    case .int32: return UInt64(bitPattern: Int64(try integer(Int32.self, scratch: &output)))
    case .sfixed32: return UInt64(UInt32(bitPattern: try integer(scratch: &output)))
    case .uint32, .fixed32: return UInt64(try integer(UInt32.self, scratch: &output))
    case .sint32: return Self.zigZag(Int64(try integer(Int32.self, scratch: &output)))
    case .sint64: return Self.zigZag(try integer(scratch: &output))
    default: return try enumeration(field, scratch: &output)
    }
  }

  private static func zigZag(_ value: Int64) -> UInt64 { UInt64(bitPattern: value << 1 ^ value >> 63) }

  private mutating func bool() throws(Fault) -> Bool {
    switch try reader.peek() {
    case UInt8(ascii: "t"):
      try reader.literal("true")
      return true
    case UInt8(ascii: "f"):
      try reader.literal("false")
      return false
    default: throw reader.fault(.expectedBool)
    }
  }

  @inline(__always)
  private mutating func integer<T: FixedWidthInteger>(
    _: T.Type = T.self, scratch output: inout ByteBuffer
  ) throws(Fault) -> T {
    let first = try reader.peek()
    let start = reader.cursor
    let number: DecimalInteger?
    if first == UInt8(ascii: "\"") {
      number = Self.integer(in: try reader.text(), scratch: &output)
    } else if first &- 0x30 < 10 || first == UInt8(ascii: "-") {
      number = try reader.number()
    } else {
      throw reader.fault(.expectedInteger)
    }
    guard let value: T = number?.exactly() else { throw reader.fault(.expectedInteger, at: start) }
    return value
  }

  /// The integer in a string, which must be exactly a JSON number.
  private static func integer(in text: JSONText, scratch output: inout ByteBuffer) -> DecimalInteger? {
    var number = JSONReader(text.start, text.count)
    var count = text.count
    if text.hasEscapes {
      let target = output.reserve(text.count)
      count = text.unescape(to: target)
      number = JSONReader(target, count)
    }
    do {
      let value = try number.number()
      return number.offset == count ? value : nil
    } catch {
      return nil
    }
  }

  private mutating func enumeration(
    _ field: UnsafePointer<FieldTable>, scratch output: inout ByteBuffer
  ) throws(Fault) -> UInt64? {
    let first = try reader.peek()
    let start = reader.cursor
    let enumeration = field.pointee.enumeration.unsafelyUnwrapped
    if first &- 0x30 < 10 || first == UInt8(ascii: "-") {
      guard let value: Int32 = try reader.number()?.exactly() else { throw reader.fault(.expectedEnum, at: start) }
      return try known(value, enumeration, at: start)
    }
    guard first == UInt8(ascii: "\"") else { throw reader.fault(.expectedEnum) }
    let text = try reader.text()
    var name = (start: text.start, count: text.count)
    if text.hasEscapes {
      let target = output.reserve(text.count)
      name = (UnsafePointer(target), text.unescape(to: target))
    }
    if let value = enumeration.pointee.value(named: name.start, name.count) {
      return UInt64(bitPattern: Int64(value.pointee.number))
    }
    if let value: Int32 = Self.integer(in: text, scratch: &output)?.exactly() {
      return try known(value, enumeration, at: start)
    }
    guard !strict else { throw reader.fault(.unknownEnumValue, at: start) }
    return nil
  }

  /// The bits of an enum number, which the schema must have.
  @inline(__always)
  private mutating func known(
    _ number: Int32, _ enumeration: UnsafePointer<EnumTable>, at start: UnsafePointer<UInt8>
  ) throws(Fault) -> UInt64 {
    guard enumeration.pointee.value(number: number) != nil else {
      self.enumeration = enumeration
      throw reader.fault(.unknownEnumNumber, at: start)
    }
    return UInt64(bitPattern: Int64(number))
  }

  // MARK: Wire format

  @inline(__always)
  private func write(
    _ number: UInt64, _ field: UnsafePointer<FieldTable>, isElement: Bool, into output: inout ByteBuffer
  ) {
    guard number != 0 || isElement || field.pointee.hasPresence else { return }
    // At most eight bytes of tag, not all of which may be used, and ten of number.
    let target = output.reserve(24)
    var count = isElement ? 0 : Self.writeTag(field, to: target)
    switch field.pointee.wireType {
    case .fixed32:
      UnsafeMutableRawPointer(target + count).storeBytes(
        of: UInt32(truncatingIfNeeded: number).littleEndian, as: UInt32.self)
      count += 4
    case .fixed64:
      UnsafeMutableRawPointer(target + count).storeBytes(of: number.littleEndian, as: UInt64.self)
      count += 8
    default: count += Varint.write(number, to: target + count)
    }
    output.commit(count)
  }

  /// Writes the tag and the length of a field of `count` bytes, and returns where to write and commit these.
  @inline(__always)
  private func beginBytes(
    _ count: Int, _ field: UnsafePointer<FieldTable>, in output: inout ByteBuffer
  ) -> UnsafeMutablePointer<UInt8> {
    let target = output.reserve(count + 24)
    let tagCount = Self.writeTag(field, to: target)
    let lengthCount = Varint.write(UInt64(truncatingIfNeeded: count), to: target + tagCount)
    output.commit(tagCount + lengthCount)
    return target + tagCount + lengthCount
  }

  /// Writes the tag of a field whose length is not known yet, and reserves room for the length; returns where its bytes
  /// begin.
  @inline(__always)
  private func beginLength(_ field: UnsafePointer<FieldTable>, in output: inout ByteBuffer) -> Int {
    let target = output.reserve(24)
    let tagCount = Self.writeTag(field, to: target)
    output.commit(tagCount + 1)
    return output.count
  }

  /// Fills in the length of the bytes since the mark, which are moved if the length takes more than a byte.
  @inline(__always)
  private func endLength(_ mark: Int, in output: inout ByteBuffer) {
    let count = output.count - mark
    guard count >= 0x80 else {
      output.pointer(at: mark - 1).pointee = UInt8(truncatingIfNeeded: count)
      return
    }
    let more = Varint.count(of: UInt64(truncatingIfNeeded: count)) - 1
    _ = output.reserve(more)
    let start = output.pointer(at: mark)
    (start + more).update(from: start, count: count)
    output.commit(more)
    _ = Varint.write(UInt64(truncatingIfNeeded: count), to: start - 1)
  }

  /// Writes eight bytes, of which the first ones, as many as are returned, are the tag.
  @inline(__always)
  private static func writeTag(
    _ field: UnsafePointer<FieldTable>, to target: UnsafeMutablePointer<UInt8>
  ) -> Int {
    UnsafeMutableRawPointer(target).storeBytes(of: field.pointee.tag.littleEndian, as: UInt64.self)
    return field.pointee.tagCount
  }

  // MARK: Faults

  @inline(never)
  mutating func prepend(_ component: String) {
    path = path.isEmpty ? component : component + (path.utf8.first == UInt8(ascii: "[") ? "" : ".") + path
  }

  @inline(never)
  private mutating func fault(
    _ reason: TranscodingError.Reason, _ field: UnsafePointer<FieldTable>, _ name: JSONText
  ) -> Fault {
    prepend(field.pointee.name)
    return reader.fault(reason, at: name.start - 1)
  }
}
