import ProtobufWire

/// The message types that JSON is transcoded to and from, compiled to tables.
///
/// The tables consist of trivial values behind unsafe pointers, so that walking them costs no reference counting.
/// Invariant: they are written while the schema is made, then never changed and never freed, so a pointer into them is
/// valid on every thread for the life of the process. Make a schema once, not per request.
package struct Schema: Sendable {
  private let messages: [String: Message]

  /// Compiles the tables of `definitions`.
  ///
  /// - Throws: `SchemaError` if they are inconsistent or need something that the transcoders do not support.
  init(messages definitions: [MessageDefinition], enums: [EnumDefinition], rules: Rules = Rules()) throws {
    var compiler = SchemaCompiler(messages: definitions, enums: enums, rules: rules)
    try compiler.compile()
    messages = compiler.tables.mapValues { Message(table: UnsafePointer($0)) }
  }

  /// The message type of that full name, such as `etcdserverpb.RangeRequest`.
  package func message(_ fullName: String) -> Message? { messages[fullName] }

  /// A message type: a pointer, cheap to copy and valid for the life of the process.
  package struct Message: @unchecked Sendable {
    // Sendable because tables never change and are never freed; see `Schema`.
    let table: UnsafePointer<MessageTable>
  }
}

/// A fault in the definitions of a schema.
package struct SchemaError: Error, Sendable, CustomStringConvertible {
  package let description: String
}

// MARK: Definitions: what a schema is made of

extension Schema {
  struct MessageDefinition {
    var name: String
    var fields: [FieldDefinition]
  }

  struct FieldDefinition {
    /// The name in the `.proto` file, which is used in the output.
    var name: String
    /// The other name that is accepted in the input, usually in lower camel case.
    var jsonName: String
    var number: Int
    var kind: FieldKind
    var isRepeated = false
    /// The index of the oneof of the message that the field belongs to.
    var oneof: Int?
    /// The full name of the message or enum type.
    var typeName = ""
  }

  struct EnumDefinition {
    var name: String
    var values: [(name: String, number: Int32)]
  }
}

/// The type of a field on the wire and in JSON: the scalar types of protobuf without the floating point ones.
enum FieldKind: UInt8, CaseIterable {
  case bool, int32, int64, uint32, uint64, sint32, sint64, fixed32, fixed64, sfixed32, sfixed64
  case enumeration, string, bytes, message

  var wireType: WireType {
    switch self {
    case .bool, .int32, .int64, .uint32, .uint64, .sint32, .sint64, .enumeration: .varint
    case .fixed32, .sfixed32: .fixed32
    case .fixed64, .sfixed64: .fixed64
    case .string, .bytes, .message: .lengthDelimited
    }
  }
}

// MARK: Tables: what the transcoders walk

/// Bytes that live for ever, with `padding` readable ones after them.
struct TableText {
  static let padding = 32

  let start: UnsafePointer<UInt8>
  let count: Int

  var string: String { String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self) }
}

struct FieldTable {
  /// `,"name":`; the comma may be skipped.
  let label: TableText
  /// The message or enum type, or null.
  let message: UnsafePointer<MessageTable>?
  let enumeration: UnsafePointer<EnumTable>?
  /// This field's bit in the masks of a message in progress.
  let bit: UInt64
  /// The bits of the fields that must not be set beside this one: its own, and those of its oneof.
  let exclusive: UInt64
  /// The bytes of the tag, the first one in the lowest bits.
  let tag: UInt64
  let tagCount: Int
  let number: UInt32
  let kind: FieldKind
  let wireType: WireType
  let isRepeated: Bool
  /// Whether elements are encoded as one length-delimited field.
  let isPacked: Bool
  /// Whether a zero value differs from an absent one.
  let hasPresence: Bool
  let hasRule: Bool
  /// The rule of this field, or null.
  let rule: UnsafePointer<FieldRuleTable>?

  var name: String { TableText(start: label.start + 2, count: label.count - 4).string }
}

struct NameTable {
  let text: TableText
  let field: UnsafePointer<FieldTable>
}

struct MessageTable {
  let fieldCount: Int
  /// In the order of their numbers.
  let fields: UnsafePointer<FieldTable>
  let numbers: UnsafePointer<UInt32>
  /// One plus the index of the field with a number below `directCount`, or 0.
  let direct: UnsafePointer<UInt8>
  static let directCount: UInt32 = 64
  /// An open-addressing hash table of `slotMask + 1` slots, each one plus the index of a name, or 0.
  let slots: UnsafePointer<UInt8>
  let slotMask: Int
  let names: UnsafePointer<NameTable>
  /// The requirements, or null.
  let requirements: UnsafePointer<RequirementTable>?

  @inline(__always)
  func field(number: UInt32) -> UnsafePointer<FieldTable>? {
    if number < Self.directCount {
      let index = Int(direct[Int(number)])
      return index == 0 ? nil : fields + (index &- 1)
    }
    for index in 0..<fieldCount where numbers[index] == number { return fields + index }
    return nil
  }

  @inline(__always)
  func field(named name: UnsafePointer<UInt8>, _ count: Int) -> UnsafePointer<FieldTable>? {
    guard count > 0 else { return nil }
    var slot = Self.hash(name, count) & slotMask
    while slots[slot] != 0 {
      let candidate = names + (Int(slots[slot]) &- 1)
      let text = candidate.pointee.text
      if text.count == count && equal(text.start, name, count) { return candidate.pointee.field }
      slot = (slot &+ 1) & slotMask
    }
    return nil
  }

  /// The hash of a name, which must not be empty. The names are fixed, so a client cannot choose colliding ones.
  @inline(__always)
  static func hash(_ name: UnsafePointer<UInt8>, _ count: Int) -> Int {
    Int(name[0]) &+ Int(name[count &- 1]) &* 7 &+ Int(name[count &>> 1]) &* 31 &+ count &* 5
  }
}

struct EnumTable {
  struct Value {
    /// The name in quotes, as in the output.
    let quoted: TableText
    let number: Int32
  }

  let count: Int
  let values: UnsafePointer<Value>

  /// All names and numbers, for people.
  var listing: String {
    UnsafeBufferPointer(start: values, count: count)
      .map { "\($0.quoted.string.dropFirst().dropLast()) (\($0.number))" }.joined(separator: ", ")
  }

  func value(number: Int32) -> UnsafePointer<Value>? {
    for index in 0..<count where values[index].number == number { return values + index }
    return nil
  }

  func value(named name: UnsafePointer<UInt8>, _ nameCount: Int) -> UnsafePointer<Value>? {
    for index in 0..<count {
      let quoted = values[index].quoted
      if quoted.count == nameCount + 2 && equal(quoted.start + 1, name, nameCount) { return values + index }
    }
    return nil
  }
}

/// Whether two short texts of the same length are equal.
@inline(__always)
private func equal(_ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, _ count: Int) -> Bool {
  var index = 0
  while index &+ 8 <= count {
    let (x, y) = (UnsafeRawPointer(a + index), UnsafeRawPointer(b + index))
    if x.loadUnaligned(as: UInt64.self) != y.loadUnaligned(as: UInt64.self) { return false }
    index &+= 8
  }
  while index < count {
    if a[index] != b[index] { return false }
    index &+= 1
  }
  return true
}
