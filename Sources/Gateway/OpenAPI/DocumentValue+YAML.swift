import ByteBuffers
import HTTPServer
import ProtobufWire
import Transcoding

extension DocumentValue {
  /// Appends the value as YAML 1.2 in block style. If not every reader of YAML, including 1.1, takes a text for a text,
  /// it is written as a JSON string, which in YAML is a double-quoted scalar.
  ///
  /// - Parameter indent: how far the members or elements are indented.
  func writeYAML(to output: inout ByteBuffer, indent: Int = 0) {
    switch self {
    case .object(let members) where !members.isEmpty:
      for (index, member) in members.enumerated() {
        if index > 0 { output.appendBlanks(indent) }
        Self.appendScalar(member.name, to: &output)
        output.append(":")
        member.value.writeYAMLMember(to: &output, indent: indent)
      }
    case .array(let elements) where !elements.isEmpty:
      for (index, element) in elements.enumerated() {
        if index > 0 { output.appendBlanks(indent) }
        output.append("- ")
        element.writeYAML(to: &output, indent: indent + 2)
      }
    case .string(let text):
      Self.appendScalar(text, to: &output)
      output.append("\n")
    default:
      writeJSON(to: &output)
      output.append("\n")
    }
  }

  /// Appends the text after the colon of a member.
  private func writeYAMLMember(to output: inout ByteBuffer, indent: Int) {
    switch self {
    case _ where !members.isEmpty || !elements.isEmpty:
      output.append("\n")
      output.appendBlanks(indent + 2)
      writeYAML(to: &output, indent: indent + 2)
    case .string(let text) where Self.isLiteral(text):
      output.append(" |-\n")
      for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
        if !line.isEmpty { output.appendBlanks(indent + 2) }
        output.append(line.utf8)
        output.append("\n")
      }
    default:
      output.append(" ")
      writeYAML(to: &output, indent: indent)
    }
  }

  /// Whether a text of several lines can be a literal block (YAML 1.2.2, section 8.1.2) without changes.
  private static func isLiteral(_ text: String) -> Bool {
    let bytes = text.utf8
    return bytes.contains(0x0A) && bytes.first != 0x20 && bytes.first != 0x0A && bytes.last != 0x0A
      && bytes.allSatisfy { $0 == 0x0A || (0x20...0x7E).contains($0) }
  }

  private static func appendScalar(_ text: String, to output: inout ByteBuffer) {
    if isPlain(text) { output.append(text.utf8) } else { output.appendJSONString(text) }
  }

  private static func isPlain(_ text: String) -> Bool {
    func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) }
    let bytes = text.utf8
    guard let first = bytes.first, isLetter(first) || first == UInt8(ascii: "/") || first == UInt8(ascii: "$"),
      bytes.last != 0x20,
      bytes.allSatisfy({ isLetter($0) || $0.isDigit || " _-./{}$()".utf8.contains($0) })
    else { return false }
    // These are booleans or null in YAML 1.1.
    return !["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(text.lowercased())
  }
}
