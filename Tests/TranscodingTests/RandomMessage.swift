import TestSupport

@testable import Transcoding

/// Random messages as a serializer may write them: fields in order, repeated numbers packed or not, zeros written or
/// not.
struct RandomMessage {
  var random: SeededGenerator

  init(seed: UInt64) { random = SeededGenerator(seed: seed) }

  mutating func wire(of table: UnsafePointer<MessageTable>, depth: Int = 0) -> [UInt8] {
    var wire: [UInt8] = []
    var taken: UInt64 = 0
    for index in 0..<table.pointee.fieldCount {
      let field = table.pointee.fields[index]
      guard random.chance(depth > 6 ? 1 : 3, in: 5), taken & field.exclusive == 0 else { continue }
      if field.kind == .message && depth > 8 { continue }
      taken |= field.bit
      let number = UInt64(table.pointee.numbers[index])
      let count = field.isRepeated ? Int.random(in: 0...3, using: &random) : 1
      let isPacked = field.isPacked && random.chance(1, in: 2)
      var packed: [UInt8] = []
      for _ in 0..<count {
        let value = value(of: field, depth: depth)
        if isPacked {
          packed += value
        } else {
          wire += Self.varint(number << 3 | UInt64(field.wireType.rawValue))
          if field.wireType == .lengthDelimited { wire += Self.varint(UInt64(value.count)) }
          wire += value
        }
      }
      if isPacked { wire += Self.varint(number << 3 | 2) + Self.varint(UInt64(packed.count)) + packed }
    }
    return wire
  }

  private mutating func value(of field: FieldTable, depth: Int) -> [UInt8] {
    switch field.kind {
    case .message: return wire(of: field.message!, depth: depth + 1)
    case .bytes: return bytes()
    case .string: return Array(text().utf8)
    case .bool: return [random.chance(1, in: 2) ? 1 : 0]
    case .fixed32, .sfixed32: return (0..<4).map { _ in UInt8.random(in: 0...255, using: &random) }
    case .fixed64, .sfixed64: return (0..<8).map { _ in UInt8.random(in: 0...255, using: &random) }
    case .enumeration:
      // Numbers that the schema does not have are read, but not written.
      let enumeration = field.enumeration!.pointee
      return Self.varint(extended(enumeration.values[Int.random(in: 0..<enumeration.count, using: &random)].number))
    case .int32: return Self.varint(extended(Int32(truncatingIfNeeded: integer())))
    case .uint32, .sint32: return Self.varint(integer() & 0xffff_ffff)
    case .int64, .uint64, .sint64: return Self.varint(integer())
    }
  }

  private func extended(_ value: Int32) -> UInt64 { UInt64(bitPattern: Int64(value)) }

  /// All magnitudes with the same probability, and the extremes often.
  private mutating func integer() -> UInt64 {
    switch Int.random(in: 0..<8, using: &random) {
    case 0: return 0
    case 1: return .max
    case 2: return 1 << 63
    case 3: return 1 << 63 - 1
    default: return random.next() >> UInt64.random(in: 0..<64, using: &random)
    }
  }

  private mutating func bytes() -> [UInt8] {
    let count = Int.random(in: 0...(random.chance(1, in: 10) ? 400 : 20), using: &random)
    return (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
  }

  private mutating func text() -> String {
    let count = Int.random(in: 0...(random.chance(1, in: 10) ? 200 : 12), using: &random)
    var text = ""
    for _ in 0..<count {
      let range: ClosedRange<UInt32> =
        [
          0...0x1f, 0x20...0x7f, 0x20...0x7f, 0x20...0x7f, 0x80...0x7ff, 0x2020...0x2030, 0x800...0xd7ff,
          0xe000...0xffff,
          0x1_0000...0x10_ffff,
        ]
        .randomElement(using: &random)!
      text.unicodeScalars.append(Unicode.Scalar(UInt32.random(in: range, using: &random))!)
    }
    return text
  }

  private static func varint(_ value: UInt64) -> [UInt8] {
    value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7f) | 0x80] + varint(value >> 7)
  }

  // MARK: The same in other words

  /// Cuts at random places.
  mutating func pieces(of bytes: [UInt8]) -> [ArraySlice<UInt8>] {
    var pieces: [ArraySlice<UInt8>] = []
    var at = 0
    while at < bytes.count {
      let end = min(at + Int.random(in: 0...(random.chance(1, in: 2) ? 3 : 40), using: &random), bytes.count)
      pieces.append(bytes[at..<end])
      at = end
    }
    return pieces
  }

  /// The same JSON document with white space between the tokens, some characters escaped and unknown members added.
  mutating func respelled(_ json: String) -> String {
    let scalars = Array(json.unicodeScalars)
    var result = ""
    var isInString = false
    // How many characters more belong to an escape sequence.
    var escaped = 0
    for (index, scalar) in scalars.enumerated() {
      if !isInString && "{}[],:\"".unicodeScalars.contains(scalar) && random.chance(1, in: 4) {
        result += [" ", "\n", "\t", "\r\n"].randomElement(using: &random)!
      }
      if isInString && escaped == 0 && scalar != "\\" && scalar != "\"" && random.chance(1, in: 20) {
        for unit in String(scalar).utf16 {
          let hex = String(unit, radix: 16, uppercase: random.chance(1, in: 2))
          result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
        }
        continue
      }
      result.unicodeScalars.append(scalar)
      if scalar == "{" && !isInString && random.chance(1, in: 4) {
        result += #""unknown":[{"a":"\"}","b":-1.5e3},null,[],true,"é\ud83d\ude00"],"":{}"#
        if scalars[index + 1] != "}" { result += "," }
      }
      if escaped > 0 {
        escaped += escaped == 5 && scalar != "u" ? -5 : -1
      } else if scalar == "\"" {
        isInString.toggle()
      } else if isInString && scalar == "\\" {
        escaped = 5
      }
    }
    return result
  }
}
