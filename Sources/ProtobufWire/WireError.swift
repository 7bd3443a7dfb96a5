/// Why bytes are not the expected protobuf message.
@usableFromInline package enum WireError: Error, Equatable, BitwiseCopyable, CustomStringConvertible {
  /// A varint has more than 64 bits.
  case malformedVarint
  /// A field has a number that no field can have, or a wire type that is not supported here.
  case malformedTag
  /// A field is longer than the message around it, or the message ends within it.
  case overrun
  /// The message does not have the expected fields.
  case unexpectedFields

  @usableFromInline package var description: String {
    switch self {
    case .malformedVarint: "a varint of the protobuf message has more than 64 bits"
    case .malformedTag: "the protobuf message has an invalid field tag"
    case .overrun: "a field of the protobuf message is longer than the message"
    case .unexpectedFields: "the protobuf message does not have the requested fields"
    }
  }
}
