import ProtobufWire

/// Lays a schema's definitions out as tables. The memory that it allocates is never freed.
struct SchemaCompiler {
  let messages: [Schema.MessageDefinition]
  let rules: Schema.Rules
  private(set) var roles: [String: UInt64] = [:]
  private let enums: [Schema.EnumDefinition]
  private(set) var tables: [String: UnsafeMutablePointer<MessageTable>] = [:]
  private var enumTables: [String: UnsafePointer<EnumTable>] = [:]

  /// Each field has one bit in a message's masks.
  private static let maximumFields = 64

  init(messages: [Schema.MessageDefinition], enums: [Schema.EnumDefinition], rules: Schema.Rules) {
    self.messages = messages
    self.enums = enums
    self.rules = rules
  }

  mutating func compile() throws {
    // Checked before anything is allocated, so that a refused schema leaks nothing.
    try check()
    try checkRules()
    roles = try Self.roles(of: rules)
    for definition in enums {
      let values = definition.values.map {
        EnumTable.Value(quoted: Self.text("\"\($0.name)\""), number: $0.number)
      }
      let table = EnumTable(count: values.count, values: Self.array(values))
      enumTables[definition.name] = Self.array([table])
    }
    // Types refer to each other in circles: all tables are allocated before the first one is filled in.
    for definition in messages { tables[definition.name] = .allocate(capacity: 1) }
    for definition in messages { tables[definition.name]?.initialize(to: table(of: definition)) }
  }

  private func check() throws {
    var names: Set<String> = []
    for definition in messages {
      guard names.insert(definition.name).inserted else { throw SchemaError(description: "\(definition.name) twice") }
    }
    let enumNames = Set(enums.map(\.name))
    for definition in messages {
      guard definition.fields.count <= Self.maximumFields else {
        throw SchemaError(description: "\(definition.name) has more than \(Self.maximumFields) fields")
      }
      for field in definition.fields {
        let path = "\(definition.name).\(field.name)"
        guard (1..<1 << 29).contains(field.number) else { throw SchemaError(description: "\(path): bad number") }
        // Labels are written as they are.
        guard field.name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x22 && $0 != 0x5c }) else {
          throw SchemaError(description: "\(path): bad name")
        }
        let isKnown =
          switch field.kind {
          case .message: names.contains(field.typeName)
          case .enumeration: enumNames.contains(field.typeName)
          default: true
          }
        guard isKnown else { throw SchemaError(description: "\(path): no such type: \(field.typeName)") }
      }
    }
  }

  private func table(of definition: Schema.MessageDefinition) -> MessageTable {
    let sorted = definition.fields.sorted { $0.number < $1.number }
    let fields = Self.array(
      sorted.enumerated().map { index, field in
        let others = sorted.indices.filter { field.oneof != nil && sorted[$0].oneof == field.oneof }
        return table(
          of: field, rule: rules.fields["\(definition.name).\(field.name)"], bit: index,
          exclusive: others.reduce(1 << index) { $0 | 1 << $1 })
      })

    let direct = UnsafeMutablePointer<UInt8>.allocate(capacity: Int(MessageTable.directCount))
    direct.initialize(repeating: 0, count: Int(MessageTable.directCount))
    for (index, field) in sorted.enumerated() where field.number < MessageTable.directCount {
      direct[field.number] = UInt8(index + 1)
    }

    let names = sorted.enumerated().flatMap { index, field in
      Set([field.name, field.jsonName]).map { NameTable(text: Self.text($0), field: fields + index) }
    }
    let (slots, slotMask) = Self.slots(for: names)
    return MessageTable(
      fieldCount: sorted.count, fields: fields, numbers: Self.array(sorted.map { UInt32($0.number) }),
      direct: direct, slots: slots, slotMask: slotMask, names: Self.array(names),
      requirements: requirements(
        of: definition.name,
        fields: Dictionary(uniqueKeysWithValues: sorted.enumerated().map { ($1.name, fields + $0) })))
  }

  private func table(
    of field: Schema.FieldDefinition, rule: Schema.Rules.FieldRule?, bit: Int, exclusive: UInt64
  ) -> FieldTable {
    let isPacked = field.isRepeated && field.kind.wireType != .lengthDelimited
    let wireType = isPacked ? .lengthDelimited : field.kind.wireType
    var tag: UInt64 = 0
    var tagCount = 0
    Varint.encode(UInt64(field.number) << 3 | UInt64(wireType.rawValue)) {
      tag |= UInt64($0) << (8 * UInt64(tagCount))
      tagCount += 1
    }
    return FieldTable(
      label: Self.text(",\"\(field.name)\":"),
      message: field.kind == .message ? UnsafePointer(tables[field.typeName]) : nil,
      enumeration: field.kind == .enumeration ? enumTables[field.typeName] : nil,
      bit: 1 << bit, exclusive: exclusive, tag: tag, tagCount: tagCount, number: UInt32(field.number),
      kind: field.kind,
      wireType: field.kind.wireType, isRepeated: field.isRepeated, isPacked: isPacked,
      hasPresence: field.oneof != nil || field.kind == .message,
      hasRule: rule != nil, rule: rule.map { Self.array([table(of: $0)]) })
  }

  private static func slots(for names: [NameTable]) -> (UnsafePointer<UInt8>, mask: Int) {
    // A quarter full at most: nearly every name is found, or found missing, at the first probe.
    var size = 8
    while size < names.count * 4 { size *= 2 }
    let slots = UnsafeMutablePointer<UInt8>.allocate(capacity: size)
    slots.initialize(repeating: 0, count: size)
    for (index, name) in names.enumerated() {
      var slot = MessageTable.hash(name.text.start, name.text.count) & (size - 1)
      while slots[slot] != 0 { slot = (slot + 1) & (size - 1) }
      slots[slot] = UInt8(index + 1)
    }
    return (UnsafePointer(slots), size - 1)
  }

  static func array<T: BitwiseCopyable>(_ elements: [T]) -> UnsafePointer<T> {
    let memory = UnsafeMutableBufferPointer<T>.allocate(capacity: max(elements.count, 1))
    _ = memory.initialize(fromContentsOf: elements)
    return UnsafePointer(memory.baseAddress!)
  }

  static func text(_ string: String) -> TableText { text(Array(string.utf8)) }

  static func text(_ bytes: [UInt8]) -> TableText {
    let padded = bytes + [UInt8](repeating: 0, count: TableText.padding)
    return TableText(start: array(padded), count: bytes.count)
  }
}
