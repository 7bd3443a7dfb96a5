/// What is refused though it fits the schema. Looked at in the encoded bytes, so that what is checked is what is sent,
/// and only of the messages and fields that have rules.
extension JSONEncoder {
  /// - Parameter start: where the encoding of the field begins in `output`; nothing is there if it is zero or empty.
  @inline(never)
  mutating func check(
    _ rule: UnsafePointer<FieldRuleTable>, _ output: borrowing ByteBuffer, from start: Int
  ) throws(Fault) {
    let rule = rule.pointee
    var values = EncodedFields(output, from: start)
    var index = 0
    var hasRole = false
    while let field = values.next() {
      if rule.isMemberURL && !MemberURL.isValid(field.bytes) {
        prepend("[\(index)]")
        throw refusal(rule.because)
      }
      hasRole = hasRole || rule.value.count == 0 || rule.value.holds(field.bytes)
      index += 1
    }
    guard hasRole else { return }
    roles |= rule.role
    if roles & rule.excludes != 0 { throw refusal(rule.because) }
  }

  /// - Parameter start: where the encoding of the message begins in `output`.
  @inline(never)
  mutating func check(
    _ requirements: UnsafePointer<RequirementTable>, _ output: borrowing ByteBuffer, from start: Int
  ) throws(Fault) {
    var requirement = requirements
    while true {
      let rule = requirement.pointee
      let holds = rule.condition.map { EncodedFields.number(of: $0, in: output, from: start) == rule.number } ?? true
      if holds && !EncodedFields.contains(rule.field, in: output, from: start) {
        prepend(rule.field.pointee.name)
        throw refusal(rule.because)
      }
      guard rule.hasNext else { return }
      requirement += 1
    }
  }

  private mutating func refusal(_ because: TableText) -> Fault {
    self.because = because
    return reader.fault(.refused)
  }
}

/// The fields of a message in the wire format, one after the other.
private struct EncodedFields {
  struct Field {
    let tag: UInt64
    /// The value of a varint.
    let number: UInt64
    /// The value of anything else.
    let bytes: UnsafeBufferPointer<UInt8>
  }

  private var rest: UnsafeBufferPointer<UInt8>.SubSequence

  init(_ output: borrowing ByteBuffer, from start: Int) {
    let count = output.count - start
    // A buffer that nothing was written to has no memory yet.
    rest = UnsafeBufferPointer(start: count > 0 ? output.pointer(at: start) : nil, count: max(count, 0))[...]
  }

  static func contains(_ field: UnsafePointer<FieldTable>, in output: borrowing ByteBuffer, from start: Int) -> Bool {
    var fields = EncodedFields(output, from: start)
    while let next = fields.next() {
      if next.tag == field.pointee.decodedTag { return true }
    }
    return false
  }

  static func number(
    of field: UnsafePointer<FieldTable>, in output: borrowing ByteBuffer, from start: Int
  ) -> UInt64 {
    var fields = EncodedFields(output, from: start)
    while let next = fields.next() {
      if next.tag == field.pointee.decodedTag { return next.number }
    }
    return 0
  }

  mutating func next() -> Field? {
    guard !rest.isEmpty else { return nil }
    let tag = varint()
    var count = 0
    switch WireType(rawValue: UInt8(truncatingIfNeeded: tag & 7)) {
    case .varint: return Field(tag: tag, number: varint(), bytes: UnsafeBufferPointer(start: nil, count: 0))
    case .fixed32: count = 4
    case .fixed64: count = 8
    default: count = Int(truncatingIfNeeded: varint())
    }
    // It is our own encoding; what holds always is nevertheless looked at where memory is at stake.
    let bytes = rest.prefix(max(0, count))
    rest = rest.dropFirst(bytes.count)
    return Field(tag: tag, number: 0, bytes: UnsafeBufferPointer(rebasing: bytes))
  }

  private mutating func varint() -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while let byte = rest.popFirst() {
      value |= UInt64(byte & 0x7f) << shift
      guard byte >= 0x80, shift < 63 else { break }
      shift += 7
    }
    return value
  }
}

extension FieldTable {
  /// The tag as a number.
  fileprivate var decodedTag: UInt64 {
    (0..<UInt64(tagCount)).reduce(0) { $0 | (tag >> (8 * $1) & 0x7f) << (7 * $1) }
  }
}

extension TableText {
  fileprivate func holds(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    count == bytes.count && UnsafeBufferPointer(start: start, count: count).elementsEqual(bytes)
  }
}

/// The URL of a member of a cluster as every etcd takes it: a scheme, a host, a port and nothing else.
private enum MemberURL {
  private static let schemes = ["http://", "https://", "unix://", "unixs://"]

  static func isValid(_ url: UnsafeBufferPointer<UInt8>) -> Bool {
    for scheme in schemes where url.starts(with: scheme.utf8) { return isAuthority(url.dropFirst(scheme.utf8.count)) }
    return false
  }

  /// Whether this is `HOST:PORT` or `[ADDRESS]:PORT` (RFC 3986, section 3.2).
  private static func isAuthority(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
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
