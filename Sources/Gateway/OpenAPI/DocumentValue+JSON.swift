import ByteBuffers
import ProtobufWire
import Transcoding

extension DocumentValue {
  /// Appends the value as JSON (RFC 8259) for people: each member and element on its own line, unless they are few.
  func writeJSON(to output: inout ByteBuffer, indent: Int = 0) {
    switch self {
    case .null: output.append("null")
    case .bool(let value): output.append(value ? "true" : "false")
    case .integer(let value): output.append("\(value)".utf8)
    case .string(let text): output.appendJSONString(text)
    case .array([]): output.append("[]")
    case .object([]): output.append("{}")
    case .array(let elements):
      output.append("[")
      for (index, element) in elements.enumerated() {
        output.append(index == 0 ? "\n" : ",\n")
        output.appendBlanks(indent + 2)
        element.writeJSON(to: &output, indent: indent + 2)
      }
      output.append("\n")
      output.appendBlanks(indent)
      output.append("]")
    case .object(let members):
      output.append("{")
      for (index, member) in members.enumerated() {
        output.append(index == 0 ? "\n" : ",\n")
        output.appendBlanks(indent + 2)
        output.appendJSONString(member.name)
        output.append(": ")
        member.value.writeJSON(to: &output, indent: indent + 2)
      }
      output.append("\n")
      output.appendBlanks(indent)
      output.append("}")
    }
  }
}

extension ByteBuffer {
  mutating func appendBlanks(_ count: Int) { append(repeatElement(UInt8(ascii: " "), count: count)) }
}

/// Reads a JSON document that is part of the program; malformed JSON traps.
struct DocumentReader {
  private var text: Slice<UnsafeBufferPointer<UInt8>>

  static func read(_ text: StaticString) -> DocumentValue {
    text.withUTF8Buffer { bytes in
      var reader = DocumentReader(text: bytes[...])
      let value = reader.value()
      precondition(reader.peek() == nil, "a document has more than one value")
      return value
    }
  }

  /// The next byte that is not white space; it stays unread.
  private mutating func peek() -> UInt8? {
    text = text.drop { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }
    return text.first
  }

  private mutating func value() -> DocumentValue {
    switch peek() {
    case UInt8(ascii: "{"):
      var members: [DocumentValue.Member] = []
      list(closedBy: UInt8(ascii: "}")) { reader in
        guard case .string(let name) = reader.value() else { preconditionFailure("a name is expected") }
        reader.pass(UInt8(ascii: ":"))
        members.append(.init(name: name, value: reader.value()))
      }
      return .object(members)
    case UInt8(ascii: "["):
      var elements: [DocumentValue] = []
      list(closedBy: UInt8(ascii: "]")) { elements.append($0.value()) }
      return .array(elements)
    case UInt8(ascii: "\""): return .string(string())
    default:
      let word = text.prefix { ![0x2C, 0x5D, 0x7D, 0x20, 0x0A].contains($0) }
      text = text.dropFirst(word.count)
      switch String(decoding: word, as: UTF8.self) {
      case "null": return .null
      case "true": return .bool(true)
      case "false": return .bool(false)
      case let number: return .integer(Int(number)!)
      }
    }
  }

  private mutating func list(closedBy end: UInt8, _ element: (inout DocumentReader) -> Void) {
    text = text.dropFirst()
    guard peek() != end else { return pass(end) }
    element(&self)
    while peek() == UInt8(ascii: ",") {
      text = text.dropFirst()
      element(&self)
    }
    pass(end)
  }

  private mutating func pass(_ byte: UInt8) {
    precondition(peek() == byte, "'\(Character(Unicode.Scalar(byte)))' is expected")
    text = text.dropFirst()
  }

  /// A string without `\u` escapes, which the generator of the documents never writes.
  private mutating func string() -> String {
    text = text.dropFirst()
    var bytes: [UInt8] = []
    while let byte = text.popFirst(), byte != UInt8(ascii: "\"") {
      guard byte == UInt8(ascii: "\\"), let escaped = text.popFirst() else {
        bytes.append(byte)
        continue
      }
      switch escaped {
      case UInt8(ascii: "n"): bytes.append(0x0A)
      case UInt8(ascii: "t"): bytes.append(0x09)
      case UInt8(ascii: "r"): bytes.append(0x0D)
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(escaped)
      default: preconditionFailure("an unknown escape")
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
