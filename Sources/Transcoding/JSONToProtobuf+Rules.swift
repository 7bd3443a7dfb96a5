import ByteBuffers
import ProtobufWire

/// Refuses values that fit the schema but break its rules. The checks read the encoded bytes, so that what is checked
/// is what is sent, and only those of messages and fields that have rules.
extension JSONEncoder {
  /// - Parameter start: the beginning of the field's encoding in `output`, which is empty if the field is zero or
  ///   empty.
  @inline(never)
  mutating func check(
    _ rule: UnsafePointer<FieldRuleTable>, _ output: borrowing ByteBuffer, from start: Int
  ) throws(Fault) {
    let rule = rule.pointee
    var index = 0
    var hasRole = false
    try output.withUnsafeBytes { bytes throws(Fault) in
      var values = fields(bytes, from: start)
      while let field = try next(&values) {
        let content = UnsafeRawBufferPointer(rebasing: bytes[field.content])
        if rule.isMemberURL && !MemberURL.isValid(content) {
          prepend("[\(index)]")
          throw refusal(rule.because)
        }
        hasRole = hasRole || rule.value.count == 0 || rule.value.holds(content)
        index += 1
      }
    }
    guard hasRole else { return }
    roles |= rule.role
    if roles & rule.excludes != 0 { throw refusal(rule.because) }
  }

  /// - Parameter start: the beginning of the message's encoding in `output`.
  @inline(never)
  mutating func check(
    _ requirements: UnsafePointer<RequirementTable>, _ output: borrowing ByteBuffer, from start: Int
  ) throws(Fault) {
    var requirement = requirements
    while true {
      let rule = requirement.pointee
      var holds = true
      if let condition = rule.condition {
        let number = try number(of: condition, in: output, from: start) ?? 0
        holds = number == rule.number
      }
      if holds {
        guard try number(of: rule.field, in: output, from: start) != nil else {
          prepend(rule.field.pointee.name)
          throw refusal(rule.because)
        }
      }
      guard rule.hasNext else { return }
      requirement += 1
    }
  }

  /// The number in the first field of that kind, 0 if it is not a number; nil if there is no such field.
  private func number(
    of field: UnsafePointer<FieldTable>, in output: borrowing ByteBuffer, from start: Int
  ) throws(Fault) -> UInt64? {
    try output.withUnsafeBytes { bytes throws(Fault) in
      var values = fields(bytes, from: start)
      while let value = try next(&values) {
        if value.number == Int(field.pointee.number) { return value.value }
      }
      return nil
    }
  }

  private func fields(_ bytes: UnsafeRawBufferPointer, from start: Int) -> ProtobufPullParser {
    ProtobufPullParser(bytes, in: min(start, bytes.count)..<bytes.count)
  }

  /// The next field of this encoder's own output, which is therefore never malformed.
  private func next(_ fields: inout ProtobufPullParser) throws(Fault) -> ProtobufPullParser.Field? {
    do throws(WireError) { return try fields.next() } catch { throw Fault(error, offset: reader.offset) }
  }

  private mutating func refusal(_ because: TableText) -> Fault {
    self.because = because
    return reader.fault(.refused)
  }
}

extension TableText {
  fileprivate func holds(_ bytes: UnsafeRawBufferPointer) -> Bool {
    count == bytes.count && UnsafeBufferPointer(start: start, count: count).elementsEqual(bytes)
  }
}

/// The URL of a cluster's member in the form that every etcd accepts: only a scheme, a host and a port.
private enum MemberURL {
  private static let schemes = ["http://", "https://", "unix://", "unixs://"]

  static func isValid(_ url: UnsafeRawBufferPointer) -> Bool {
    for scheme in schemes where url.starts(with: scheme.utf8) { return isAuthority(url.dropFirst(scheme.utf8.count)) }
    return false
  }

  /// Whether the text is `HOST:PORT` or `[ADDRESS]:PORT` (RFC 3986, section 3.2).
  private static func isAuthority(_ text: Slice<UnsafeRawBufferPointer>) -> Bool {
    guard let colon = text.lastIndex(of: UInt8(ascii: ":")) else { return false }
    let port = text[(colon + 1)...]
    guard (1...5).contains(port.count), port.allSatisfy({ $0 &- 0x30 < 10 }) else { return false }
    let host = text[..<colon]
    guard host.first == UInt8(ascii: "[") else { return host.allSatisfy { isNameCharacter($0) } }
    return host.count > 2 && host.last == UInt8(ascii: "]")
      && host.dropFirst().dropLast().allSatisfy { isAddressCharacter($0) }
  }

  private static func isNameCharacter(_ byte: UInt8) -> Bool {
    byte &- 0x30 < 10 || (byte | 0x20) &- 0x61 < 26 || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-")
      || byte == UInt8(ascii: "_")
  }

  private static func isAddressCharacter(_ byte: UInt8) -> Bool {
    byte &- 0x30 < 10 || (byte | 0x20) &- 0x61 < 6 || byte == UInt8(ascii: ":") || byte == UInt8(ascii: ".")
  }
}
