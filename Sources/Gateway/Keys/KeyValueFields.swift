import ByteBuffers
import EtcdSchema
import HTTPServer
import ProtobufWire
import Transcoding

/// A key with its value, read from a `KeyValue` of etcd's (`mvccpb/kv.proto`).
struct KeyValueFields: ~Copyable {
  private(set) var key = ByteBuffer()
  private(set) var value = ByteBuffer()
  /// Counts the bytes if they are more than any request may keep; nil if they are counted elsewhere.
  private var kept: KeptBytes?
  /// Whether there was no room for the key, or for its JSON: further bytes are ignored.
  private(set) var isTooMuch = false
  private(set) var createRevision: Int64 = 0
  private(set) var modRevision: Int64 = 0
  private(set) var version: Int64 = 0
  private(set) var lease: Int64 = 0

  /// - Parameter memory: counts the bytes; nil if they are counted elsewhere.
  init(_ memory: MemoryAccount?) { kept = memory.map { KeptBytes($0) } }

  /// Makes a known key. Without a lease, `lease` is 0.
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
  /// - Returns: false if there is no room for them. Then the earlier bytes are dropped, too.
  private mutating func hasRoom(for more: Int) -> Bool {
    guard !isTooMuch else { return false }
    let sum = count + more
    guard sum > MemoryAccount.uncounted, kept?.set(to: sum) == false else { return true }
    reset()
    isTooMuch = true
    return false
  }

  /// Reserves capacity for a value of known length.
  mutating func reserveValue(_ length: Int) { value.reserveCapacity(length) }

  /// Takes the value out. The caller counts it.
  mutating func takeValue() -> ByteBuffer {
    kept?.release()
    return value.takeAll()
  }

  private typealias Field = Mvccpb_KeyValue.Field

  /// Takes a parser's event about the key-value message at `path`.
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

  /// Forgets the key, for the next one.
  mutating func reset() {
    // Capacity that is kept for the next key is not counted.
    let isSmall = count <= MemoryAccount.uncounted
    key.removeAll(keepingCapacity: isSmall)
    value.removeAll(keepingCapacity: isSmall)
    kept?.release()
    (createRevision, modRevision, version, lease) = (0, 0, 0, 0)
  }

  /// Appends the key in the JSON of `/keys`: nothing if there is no room for it (``isTooMuch``).
  ///
  /// - Parameter hasValue: whether the value is included.
  mutating func appendJSON(to output: inout ByteBuffer, hasValue: Bool = true) {
    if count > MemoryAccount.uncounted {
      // The JSON is made at once, and needs memory beside the bytes.
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

  /// Appends the text between the braces of ``appendJSON(to:hasValue:)``.
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
    // Leases are random numbers of 63 bits, which JavaScript would round.
    output.append(",\"lease\":\"")
    output.append(decimal: lease)
    output.append("\"")
  }

  /// Appends the text for a deletion likewise: the key, and its revision.
  func appendDeletion(to output: inout ByteBuffer) {
    Self.append(key, "\"key\":", "\"key_base64\":", to: &output)
    output.append(",\"mod_revision\":")
    output.append(decimal: modRevision)
  }

  /// The most bytes of JSON besides the key and the value.
  private static let maxFrame = 256

  /// The most bytes that ``append(_:_:_:to:)`` makes of these, without the name.
  static func maxJSONCount(of bytes: borrowing ByteBuffer) -> Int {
    bytes.withUnsafeBytes { bytes in
      guard UTF8Text.wellFormed(bytes) == bytes.count else { return bytes.count / 3 * 4 + 6 }
      // Most bytes are written as they are, some as \u and four digits. 0xe2 may begin one of the characters of three
      // bytes that are escaped to six.
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
