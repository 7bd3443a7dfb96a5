internal import EtcdSchema
import ProtobufWire

/// The content of a response, for readers that render it in another form than etcd's `WatchResponse`.
extension WatchResponse {
  package enum News {
    /// etcd has created the watch.
    case creation
    /// The events that follow; none if nothing has happened.
    case events
    /// The changes that the watch needs are compacted; those from this revision on are not.
    case compaction(Int64)
    /// The watch is over.
    case end(GRPCStatus)
  }

  /// One event, shared by all readers.
  package struct Event {
    package let revision: Int64
    /// Its number among the events of its revision, from 1.
    package let number: Int
    /// Whether it is the last of its revision.
    package let isLast: Bool
    /// The encoded `Event` (`kv.proto`), valid only during the call that passes it on.
    package let bytes: UnsafeRawBufferPointer
  }

  /// What the response says.
  package var news: News {
    var isCreated = false
    var isCanceled = false
    var compactRevision: Int64 = 0
    var reason = ""
    forEachField(of: control) { field, bytes in
      switch field.number {
      case Field.created: isCreated = field.value != 0
      case Field.canceled: isCanceled = field.value != 0
      case Field.compactRevision: compactRevision = Int64(bitPattern: field.value)
      case Field.cancelReason: reason = String(decoding: bytes[field.content], as: UTF8.self)
      default: break
      }
    }
    guard isCanceled else { return isCreated ? .creation : .events }
    return compactRevision > 0 ? .compaction(compactRevision) : .end(GRPCStatus(watchCanceledBecause: reason))
  }

  /// The revision of etcd's store.
  package var storeRevision: Int64 {
    var revision: Int64 = 0
    forEachField(of: header) { field, _ in
      guard field.number == Etcdserverpb_ResponseHeader.Field.revision else { return }
      revision = Int64(bitPattern: field.value)
    }
    return revision
  }

  /// Passes on the events in their order.
  package func forEachEvent(_ body: (Event) -> Void) {
    events.withUnsafeBytes { bytes in
      var start = 0
      var number = 0
      for (index, mark) in marks.enumerated() {
        number = index > 0 && marks[index - 1].revision == mark.revision ? number + 1 : 1
        var field = ProtobufPullParser(bytes, in: start..<mark.end)
        start = mark.end
        // It was parsed before; otherwise there would be no mark.
        guard let content = try? field.next()?.content else { continue }
        body(
          Event(
            revision: mark.revision, number: number,
            isLast: index + 1 == marks.count || marks[index + 1].revision != mark.revision,
            bytes: UnsafeRawBufferPointer(rebasing: bytes[content])))
      }
    }
  }

  private func forEachField(of message: [UInt8], _ body: (ProtobufPullParser.Field, UnsafeRawBufferPointer) -> Void) {
    message.withUnsafeBytes { bytes in
      var fields = ProtobufPullParser(bytes, in: 0..<bytes.count)
      while let field = try? fields.next() { body(field, bytes) }
    }
  }
}
