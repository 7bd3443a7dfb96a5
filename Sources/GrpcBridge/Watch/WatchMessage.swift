internal import EtcdSchema
import ProtobufWire

/// A `WatchResponse` of etcd's, parsed as far as sharing and resuming watches needs. Field numbers are those of etcd's
/// `rpc.proto` and `kv.proto`.
struct WatchMessage {
  /// The range of an event's whole field within ``bytes``.
  struct Event {
    let range: Range<Int>
    let revision: Int64
  }

  let bytes: [UInt8]
  /// The content of the response header.
  private(set) var header: [UInt8] = []
  /// The header's revision.
  private(set) var revision: Int64 = 0
  private(set) var watchID: Int64 = 0
  private(set) var isCreated = false
  private(set) var isCanceled = false
  private(set) var cancelReason = ""
  /// Whether more events of the same response follow in the next message.
  private(set) var isFragment = false
  /// All fields except header, watch ID, fragment and events, unchanged.
  private(set) var control: [UInt8] = []
  private(set) var events: [Event] = []

  /// - Throws: `WireError` if the bytes are no such message.
  init(_ bytes: [UInt8]) throws(WireError) {
    self.bytes = bytes
    var fault: WireError?
    bytes.withUnsafeBytes { bytes in
      do throws(WireError) { try parse(bytes) } catch { fault = error }
    }
    if let fault { throw fault }
  }

  /// A message as etcd's if it does not create a watch.
  static func refusal(header: [UInt8], reason: String) -> WatchMessage {
    var message = WatchMessage()
    message.header = header
    message.watchID = -1
    message.isCreated = true
    message.isCanceled = true
    message.cancelReason = reason
    message.control = WatchResponse.refusal(asCreated: true, reason: reason)
    return message
  }

  private init() { bytes = [] }

  /// The watch that a message is for, read from the message's beginning; nil if that does not say.
  static func watchID(ofBeginning bytes: [UInt8]) -> Int64? {
    bytes.withUnsafeBytes { bytes in
      var fields = ProtobufPullParser(bytes, in: 0..<bytes.count)
      while let field = try? fields.next() {
        if field.number == WatchResponse.Field.watchId { return Int64(bitPattern: field.value) }
      }
      // The ID of the first watch, 0, is left out of the message.
      return nil
    }
  }

  private mutating func parse(_ bytes: UnsafeRawBufferPointer) throws(WireError) {
    var fields = ProtobufPullParser(bytes, in: 0..<bytes.count)
    while let field = try fields.next() {
      switch field.number {
      case WatchResponse.Field.header:
        header = Array(bytes[field.content])
        revision = try Self.number(Etcdserverpb_ResponseHeader.Field.revision, of: bytes, in: field.content)
      case WatchResponse.Field.watchId: watchID = Int64(bitPattern: field.value)
      case WatchResponse.Field.fragment: isFragment = field.value != 0
      case WatchResponse.Field.events:
        events.append(Event(range: field.whole, revision: try Self.revision(ofEvent: field.content, bytes)))
      default:
        switch field.number {
        case WatchResponse.Field.created: isCreated = field.value != 0
        case WatchResponse.Field.canceled: isCanceled = field.value != 0
        case WatchResponse.Field.cancelReason: cancelReason = String(decoding: bytes[field.content], as: UTF8.self)
        default: break
        }
        control += bytes[field.whole]
      }
    }
  }

  /// Whether it says that the user lacks the permission.
  var isDenied: Bool { cancelReason.hasSuffix(EtcdMessage.permissionDenied) }

  /// The same refusal for lack of the permission: etcd may have named a stale token, which was not the reason.
  var denied: WatchMessage {
    var copy = self
    copy.cancelReason = "rpc error: code = PermissionDenied desc = \(EtcdMessage.permissionDenied)"
    copy.control = WatchResponse.refusal(asCreated: isCreated, reason: copy.cancelReason)
    return copy
  }

  /// `Event.kv.mod_revision`: for a deletion, the revision of the deletion.
  private static func revision(
    ofEvent range: Range<Int>, _ bytes: UnsafeRawBufferPointer
  ) throws(WireError) -> Int64 {
    var fields = ProtobufPullParser(bytes, in: range)
    while let field = try fields.next() {
      if field.number == Mvccpb_Event.Field.kv {
        return try number(Mvccpb_KeyValue.Field.modRevision, of: bytes, in: field.content)
      }
    }
    throw .unexpectedFields
  }

  private static func number(
    _ number: Int, of bytes: UnsafeRawBufferPointer, in range: Range<Int>
  ) throws(WireError) -> Int64 {
    var fields = ProtobufPullParser(bytes, in: range)
    while let field = try fields.next() {
      if field.number == number { return Int64(bitPattern: field.value) }
    }
    return 0
  }
}
