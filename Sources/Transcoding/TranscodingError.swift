import ProtobufWire

/// Why a document could not be transcoded, and the place of the fault.
package struct TranscodingError: Error, Sendable, Equatable, CustomStringConvertible {
  package enum Reason: String, Sendable {
    // Either direction.
    case unexpectedEnd = "unexpected end of input"
    case tooDeep = "nested too deeply"
    case duplicateField = "the field occurs twice"
    case oneofAlreadySet = "another field of the same oneof is already set"

    // JSON.
    case unexpectedCharacter = "unexpected character"
    case expectedObject = "expected an object"
    case expectedArray = "expected an array"
    case expectedString = "expected a string"
    case expectedBool = "expected true or false"
    case expectedInteger = "expected an integer within the range of the field"
    case expectedEnum = "expected the name or the number of an enum value"
    case unknownEnumNumber = "no enum value has this number"
    case refused = "refused"
    case invalidBase64 = "not valid base64"
    case invalidUTF8 = "not valid UTF-8"
    case invalidEscape = "not a valid escape sequence"
    case loneSurrogate = "half of a surrogate pair"
    case controlCharacter = "a control character in a string must be escaped"

    // JSON, handled strictly.
    case unknownField = "unknown field"
    case unknownEnumValue = "unknown enum value"
    case trailingBytes = "unexpected bytes after the value"

    // Wire format.
    case malformedVarint = "a varint is too long"
    case malformedTag = "not a valid field tag"
    case unmatchedGroup = "the end of a group without its start"
    case overrun = "a field is longer than its message"
  }

  let reason: Reason

  /// The field, such as `success[0].request_put.key`; empty if the fault is in no field.
  let path: String

  /// How many bytes of the input precede the fault.
  package let offset: Int

  /// What the reason alone does not say: the rule of the schema that refuses the document, or the allowed values.
  let detail: String

  init(reason: Reason, path: String, offset: Int, detail: String = "") {
    self.reason = reason
    self.path = path
    self.offset = offset
    self.detail = detail
  }

  /// The same fault in a larger input, with so many bytes before the document.
  package func preceded(by count: Int) -> TranscodingError {
    TranscodingError(reason: reason, path: path, offset: offset + count, detail: detail)
  }

  /// Whether the input is merely incomplete: it may be the beginning of a valid document.
  var isIncomplete: Bool { reason == .unexpectedEnd }

  private var explanation: String {
    if reason == .refused { return detail }
    return detail.isEmpty ? reason.rawValue : "\(reason.rawValue): \(detail)"
  }

  package var description: String {
    "\(path.isEmpty ? "" : "\(path): ")\(explanation) (at byte \(offset))"
  }
}

/// An error within the transcoders: trivial, so that the success path carries no reference.
struct Fault: Error {
  let reason: TranscodingError.Reason
  let offset: Int
}

extension Fault {
  /// A fault of the wire format in the field that begins at `offset`.
  init(_ error: WireError, offset: Int) {
    let reason: TranscodingError.Reason =
      switch error {
      case .malformedVarint: .malformedVarint
      case .malformedTag, .unexpectedFields: .malformedTag
      case .overrun: .overrun
      }
    self.init(reason: reason, offset: offset)
  }
}
