/// Why bytes are not the protobuf message that they should be.
@usableFromInline package enum WireError: Error, Equatable, BitwiseCopyable, CustomStringConvertible {
  /// A varint has more than 64 bits.
  case malformedVarint
  /// A field has a number that no field can have, or a wire type that is not read here.
  case malformedTag
  /// A field is longer than what it is part of, or the message ends within it.
  case overrun
  /// It is a message, but does not have the fields that were asked for.
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
