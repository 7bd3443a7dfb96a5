import ByteBuffers
import ProtobufWire

/// Parts of a JSON document, appended to a buffer.
enum JSONWriter {
  /// Appends a field's name and colon, after a comma unless it is the object's first.
  @inline(__always)
  static func label(_ field: UnsafePointer<FieldTable>, isFirst: Bool, to output: inout ByteBuffer) {
    text(field.pointee.label, from: isFirst ? 1 : 0, to: &output)
  }

  @inline(__always)
  private static func text(_ text: TableText, from first: Int, to output: inout ByteBuffer) {
    let count = text.count &- first
    let target = output.reserve(max(count, TableText.padding))
    if count <= TableText.padding {
      // Copies a fixed number of bytes, most of which are used: cheaper than a call.
      let bytes = UnsafeRawPointer(text.start + first).loadUnaligned(as: SIMD32<UInt8>.self)
      UnsafeMutableRawPointer(target).storeBytes(of: bytes, as: SIMD32<UInt8>.self)
    } else {
      target.update(from: text.start + first, count: count)
    }
    output.commit(count)
  }

  /// Appends a number, bool or enum with the bits `raw` on the wire: 64-bit integers in quotes, enums by name.
  @inline(__always)
  static func scalar(_ raw: UInt64, _ field: UnsafePointer<FieldTable>, to output: inout ByteBuffer) {
    switch field.pointee.kind {
    case .bool: output.append(raw != 0 ? "true" : "false")
    case .int64, .sfixed64: quoted(Int64(bitPattern: raw), to: &output)
    case .uint64, .fixed64: quoted(raw, to: &output)
    case .sint64: quoted(unZigZag(raw), to: &output)
    case .int32, .sfixed32: plain(Int64(Int32(truncatingIfNeeded: raw)), to: &output)
    case .uint32, .fixed32: plain(Int64(UInt32(truncatingIfNeeded: raw)), to: &output)
    case .sint32: plain(unZigZag(raw & 0xffff_ffff), to: &output)
    default:
      let number = Int32(truncatingIfNeeded: raw)
      if let value = field.pointee.enumeration.unsafelyUnwrapped.pointee.value(number: number) {
        text(value.pointee.quoted, from: 0, to: &output)
      } else {
        plain(Int64(number), to: &output)
      }
    }
  }

  /// Whether the bits `raw` are the zero value of a field, which may have fewer bits than a varint.
  @inline(__always)
  static func isZero(_ raw: UInt64, _ kind: FieldKind) -> Bool {
    switch kind {
    case .int32, .uint32, .sint32, .enumeration: UInt32(truncatingIfNeeded: raw) == 0
    default: raw == 0
    }
  }

  @inline(__always)
  private static func unZigZag(_ raw: UInt64) -> Int64 { Int64(bitPattern: raw >> 1) ^ -Int64(raw & 1) }

  @inline(__always)
  private static func quoted(_ value: Int64, to output: inout ByteBuffer) {
    let target = output.reserve(IntegerText.maximumCount + 2)
    target[0] = UInt8(ascii: "\"")
    let count = IntegerText.write(value, to: target + 1)
    target[count + 1] = UInt8(ascii: "\"")
    output.commit(count + 2)
  }

  @inline(__always)
  private static func quoted(_ value: UInt64, to output: inout ByteBuffer) {
    let target = output.reserve(IntegerText.maximumCount + 2)
    target[0] = UInt8(ascii: "\"")
    let count = IntegerText.write(value, to: target + 1)
    target[count + 1] = UInt8(ascii: "\"")
    output.commit(count + 2)
  }

  @inline(__always)
  private static func plain(_ value: Int64, to output: inout ByteBuffer) {
    output.commit(IntegerText.write(value, to: output.reserve(IntegerText.maximumCount)))
  }

  // MARK: Text

  /// Appends the characters of `start..<end`, escaped like Go's encoding/json, which has written etcd's answers from
  /// the first version on: besides what JSON requires `<`, `>`, `&`, U+2028 and U+2029, so that the text is safe within
  /// HTML or JavaScript. Each byte that is not UTF-8 becomes U+FFFD.
  ///
  /// - Parameter isEnd: Whether the text ends here; if not, an incomplete character at the end is left alone.
  /// - Returns: Where it stopped: at `end`, or at most three bytes before.
  static func text(
    _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, isEnd: Bool, to output: inout ByteBuffer
  ) -> UnsafePointer<UInt8> {
    var at = start
    while at < end {
      let run = plainRun(at, end)
      if run > at {
        output.reserve(run - at).update(from: at, count: run - at)
        output.commit(run - at)
        at = run
        if at == end { break }
      }
      if at.pointee < 0x80 {
        escape(at.pointee, to: &output)
        at += 1
        continue
      }
      switch UTF8Sequence.at(at, end) {
      case .character(let count):
        if count == 3 && at[0] == 0xe2 && at[1] == 0x80 && at[2] & 0xfe == 0xa8 {
          output.append(at[2] == 0xa8 ? "\\u2028" : "\\u2029")
        } else {
          output.reserve(count).update(from: at, count: count)
          output.commit(count)
        }
        at += count
      case .incomplete where !isEnd: return at
      case .incomplete, .malformed:
        output.append("\\ufffd")
        at += 1
      }
    }
    return at
  }

  @inline(__always)
  private static func plainRun(_ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> UnsafePointer<UInt8> {
    var at = start
    while at < end, isPlain(at.pointee) { at += 1 }
    return at
  }

  @inline(__always)
  private static func isPlain(_ byte: UInt8) -> Bool {
    guard byte >= 0x20 && byte < 0x80 else { return false }
    return byte != 0x22 && byte != 0x5c && byte != 0x3c && byte != 0x3e && byte != 0x26
  }

  private static func escape(_ byte: UInt8, to output: inout ByteBuffer) {
    let hex: StaticString = "0123456789abcdef"
    switch byte {
    case 0x22: output.append("\\\"")
    case 0x5c: output.append("\\\\")
    case 0x0a: output.append("\\n")
    case 0x0d: output.append("\\r")
    case 0x09: output.append("\\t")
    default:
      output.append("\\u00")
      output.append(hex.utf8Start[Int(byte >> 4)])
      output.append(hex.utf8Start[Int(byte & 0x0f)])
    }
  }
}

extension ByteBuffer {
  /// Appends `text` as a JSON string: in quotes, and escaped like the strings of a document.
  package mutating func appendJSONString(_ text: String) {
    append(UInt8(ascii: "\""))
    var text = text
    text.withUTF8 { bytes in
      guard let start = bytes.baseAddress else { return }
      _ = JSONWriter.text(start, start + bytes.count, isEnd: true, to: &self)
    }
    append(UInt8(ascii: "\""))
  }
}
