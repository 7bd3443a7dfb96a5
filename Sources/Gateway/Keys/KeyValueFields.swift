import Transcoding

/// A key with its value, out of a `KeyValue` of etcd's (`mvccpb/kv.proto`).
struct KeyValueFields: ~Copyable {
  var key = ByteBuffer()
  var value = ByteBuffer()
  private(set) var createRevision: Int64 = 0
  private(set) var modRevision: Int64 = 0
  private(set) var version: Int64 = 0
  private(set) var lease: Int64 = 0

  /// Takes what an event says of the key-value message at `path`.
  mutating func take(_ event: ProtobufPushParser.Event, ofMessageAt path: Int) {
    switch event {
    case .number(let field, let number) where field >> 4 == path:
      let number = Int64(bitPattern: number)
      switch field & 15 {
      case 2: createRevision = number
      case 3: modRevision = number
      case 4: version = number
      case 6: lease = number
      default: break
      }
    case .bytes(let field, let bytes) where field >> 4 == path:
      switch field & 15 {
      case 1: key.append(bytes)
      case 5: value.append(bytes)
      default: break
      }
    default: break
    }
  }

  /// Forgets all, for the next one.
  mutating func reset() {
    key.removeAll(keepingCapacity: true)
    value.removeAll(keepingCapacity: true)
    (createRevision, modRevision, version, lease) = (0, 0, 0, 0)
  }

  /// Appends the key as `/keys` has it in JSON.
  ///
  /// - Parameter hasValue: whether its value was asked for.
  func appendJSON(to output: inout ByteBuffer, hasValue: Bool = true) {
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

  /// Appends bytes with their name: as text where they are UTF-8, else in base64 under another name.
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
