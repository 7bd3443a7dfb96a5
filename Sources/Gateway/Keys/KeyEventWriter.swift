import ByteBuffers
import EtcdSchema
import GrpcBridge
import ProtobufWire
import Transcoding

/// Writes the events of watches in the JSON of `/keys`.
struct KeyEventWriter: ~Copyable {
  // Paths within an `Event` (kv.proto).
  private static let type = Mvccpb_Event.Field.type
  private static let keyValue = Mvccpb_Event.Field.kv

  /// The bytes that are parsed here were counted when they came.
  private var fields = KeyValueFields(nil)

  /// Appends `{"type":"put",…}`, or `{"type":"delete",…}` with the key and the revision.
  ///
  /// - Returns: whether it is a deletion.
  /// - Throws: `WireError` if the bytes are no event.
  mutating func append(
    _ event: WatchResponse.Event, to output: inout ByteBuffer
  ) throws(WireError) {
    try read(event.bytes)
    if isDeletion {
      output.append("{\"type\":\"delete\",")
      fields.appendDeletion(to: &output)
    } else {
      output.append("{\"type\":\"put\",")
      fields.appendMembers(to: &output)
    }
    output.append("}")
  }

  /// Whether the last appended event is a deletion.
  private(set) var isDeletion = false

  private mutating func read(_ event: UnsafeRawBufferPointer) throws(WireError) {
    fields.reset()
    isDeletion = false
    var input = event
    var parts = ProtobufPushParser(length: event.count, messages: [Self.keyValue])
    while let part = parts.next(&input) {
      if case .number(Self.type, let type) = part { isDeletion = type == Mvccpb_Event.EventType.delete.rawValue }
      fields.take(part, ofMessageAt: Self.keyValue)
    }
    try parts.finish()
  }
}
