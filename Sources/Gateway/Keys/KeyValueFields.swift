import ByteBuffers
import EtcdSchema
import HTTPServer
import ProtobufWire
import Transcoding

/// A key with its value, out of a `KeyValue` of etcd's (`mvccpb/kv.proto`).
struct KeyValueFields: ~Copyable {
  private(set) var key = ByteBuffer()
  private(set) var value = ByteBuffer()
  /// What has come, where that is more than any request may keep; nil if it is part of something that is counted.
  private var kept: KeptBytes?
  /// Whether there was no room for it, or for the JSON of it: nothing more is taken.
  private(set) var isTooMuch = false
  private(set) var createRevision: Int64 = 0
  private(set) var modRevision: Int64 = 0
  private(set) var version: Int64 = 0
  private(set) var lease: Int64 = 0

  /// - Parameter memory: where what comes is counted; nil for what is counted already.
  init(_ memory: MemoryAccount?) { kept = memory.map { KeptBytes($0) } }

  /// A key that is known already. Of one without a lease, `lease` is 0.
  init(
    key: some Collection<UInt8>, value: some Collection<UInt8>, createRevision: Int64, modRevision: Int64,
    version: Int64, lease: Int64
  ) {
    kept = nil
    self.key.append(key)
    self.value.append(value)
    self.createRevision = createRevision
    self.modRevision = modRevision
    self.version = version
    self.lease = lease
  }

  private var count: Int { key.count + value.count }

  /// Counts `more` bytes that have come.
  ///
  /// - Returns: false if there is no room for them. What was there before is thrown away, too.
  private mutating func hasRoom(for more: Int) -> Bool {
    guard !isTooMuch else { return false }
    let sum = count + more
    guard sum > MemoryAccount.uncounted, kept?.set(to: sum) == false else { return true }
    reset()
    isTooMuch = true
    return false
  }

  /// Makes room at once for a value of which the length is known.
  mutating func reserveValue(_ length: Int) { value.reserveCapacity(length) }

  /// Takes the value out. The caller counts it.
  mutating func takeValue() -> ByteBuffer {
    kept?.release()
    return value.takeAll()
  }

  private typealias Field = Mvccpb_KeyValue.Field

  /// Takes what an event says of the key-value message at `path`.
  mutating func take(_ event: ProtobufPushParser.Event, ofMessageAt path: Int) {
    switch event {
    case .number(let field, let number) where field >> 4 == path:
      let number = Int64(bitPattern: number)
      switch field & 15 {
      case Field.createRevision: createRevision = number
      case Field.modRevision: modRevision = number
      case Field.version: version = number
      case Field.lease: lease = number
      default: break
      }
    case .bytes(let field, let bytes) where field >> 4 == path:
      switch field & 15 {
      case Field.key: if hasRoom(for: bytes.count) { key.append(bytes) }
      case Field.value: if hasRoom(for: bytes.count) { value.append(bytes) }
      default: break
      }
    default: break
    }
  }

  /// Forgets all, for the next one.
  mutating func reset() {
    // What is kept for the next one is not counted.
    let isSmall = count <= MemoryAccount.uncounted
    key.removeAll(keepingCapacity: isSmall)
    value.removeAll(keepingCapacity: isSmall)
    kept?.release()
    (createRevision, modRevision, version, lease) = (0, 0, 0, 0)
  }

  /// Appends the key as `/keys` has it in JSON: nothing if there is no room for that (``isTooMuch``).
  ///
  /// - Parameter hasValue: whether its value was asked for.
  mutating func appendJSON(to output: inout ByteBuffer, hasValue: Bool = true) {
    if count > MemoryAccount.uncounted {
      // It is made in one go, beside what it is made of.
      let size = Self.maxJSONCount(of: key) + Self.maxJSONCount(of: value)
      guard kept?.hasRoom(for: size) != false else {
        reset()
        return isTooMuch = true
      }
      output.reserveCapacity(size + Self.maxFrame)
    }
    output.append("{")
    appendMembers(to: &output, hasValue: hasValue)
    output.append("}")
  }

  /// Appends what stands between the braces of ``appendJSON(to:hasValue:)``.
  func appendMembers(to output: inout ByteBuffer, hasValue: Bool = true) {
    Self.append(key, "\"key\":", "\"key_base64\":", to: &output)
    if hasValue {
      output.append(",")
      Self.append(value, "\"value\":", "\"value_base64\":", to: &output)
    }
    output.append(",\"create_revision\":")
    output.append(decimal: createRevision)
    output.append(",\"mod_revision\":")
    output.append(decimal: modRevision)
    output.append(",\"version\":")
    output.append(decimal: version)
    // Leases are random numbers of 63 bits, of which JavaScript would lose some.
    output.append(",\"lease\":\"")
    output.append(decimal: lease)
    output.append("\"")
  }

  /// Appends what is told of a deletion, likewise: the key, and its revision.
  func appendDeletion(to output: inout ByteBuffer) {
    Self.append(key, "\"key\":", "\"key_base64\":", to: &output)
    output.append(",\"mod_revision\":")
    output.append(decimal: modRevision)
  }

  /// How much JSON there is beside the key and the value, in bytes, at most.
  private static let maxFrame = 256

  /// How many bytes ``append(_:_:_:to:)`` makes of these, without the name, at most.
  static func maxJSONCount(of bytes: borrowing ByteBuffer) -> Int {
    bytes.withUnsafeBytes { bytes in
      guard UTF8Text.wellFormed(bytes) == bytes.count else { return bytes.count / 3 * 4 + 6 }
      // Most are written as they are, some as \u and four digits, and of some characters of three bytes the first is
      // the sign of the same.
      return bytes.reduce(2) { $0 + ($1 >= 0x20 && !Self.isEscaped($1) ? ($1 == 0xe2 ? 4 : 1) : 6) }
    }
  }

  private static func isEscaped(_ byte: UInt8) -> Bool {
    byte == 0x22 || byte == 0x5c || byte == 0x3c || byte == 0x3e || byte == 0x26
  }

  /// Appends bytes with their name: as text if they are UTF-8, else in base64 under another name.
  static func append(
    _ bytes: borrowing ByteBuffer, _ name: StaticString, _ nameOfBase64: StaticString, to output: inout ByteBuffer
  ) {
    bytes.withUnsafeBytes { bytes in
      if UTF8Text.wellFormed(bytes) == bytes.count {
        output.append(name)
        output.appendJSONString(bytes)
      } else {
        output.append(nameOfBase64)
        output.appendJSONBase64(bytes)
      }
    }
  }
}
