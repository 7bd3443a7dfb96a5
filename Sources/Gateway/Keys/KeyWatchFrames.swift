import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// The form of a watch's messages.
enum KeyWatchForm: Int64 {
  /// A JSON document on each line.
  case lines
  /// Server-Sent Events (HTML Standard, section 9.2), with the same documents as their data.
  case events

  /// The form that a client accepts: lines, unless it asks for events.
  init(for head: borrowing RequestHead) { self = head.accepted == .events ? .events : .lines }

  var contentType: StaticString { (self == .lines ? MediaType.lines : .events).name }

  /// A frame of one document.
  ///
  /// - Parameters:
  ///   - type: the type of the event.
  ///   - id: where a client resumes that has seen this; nil if that does not change.
  ///   - retries: whether to say how soon to reconnect.
  ///   - write: appends the document.
  func frame<Fault: Error>(
    _ type: StaticString, id: String?, retries: Bool = false, _ write: (inout ByteBuffer) throws(Fault) -> Void
  ) throws(Fault) -> StreamFrame {
    try StreamFrame { text throws(Fault) in
      guard self == .events else { return try write(&text) }
      // In milliseconds; browsers wait for up to 5 s by default.
      if retries { text.append("retry: 1000\n") }
      text.append("event: ")
      text.append(type)
      if let id {
        text.append("\nid: ")
        text.append(id.utf8)
      }
      text.append("\ndata: ")
      try write(&text)
      // The frame's own line feed makes this an empty line, which ends the event.
      text.append("\n")
    }
  }

  /// The position of a watch: nothing more will come up to that revision.
  ///
  /// - Parameter skipped: how many events of the next revision will not come either.
  func progress(_ revision: Int64, skipped: Int = 0, retries: Bool = false) -> StreamFrame {
    let id = skipped > 0 ? "\(revision + 1)-\(skipped)" : "\(revision)"
    return frame("progress", id: id, retries: retries) { text in
      text.append("{\"type\":\"progress\",\"revision\":")
      text.append(decimal: revision)
      text.append("}")
    }
  }

  /// Says that changes before `revision` are compacted, of which the client needs some. If the client reconnects it
  /// receives those from then on.
  func compaction(_ revision: Int64) -> StreamFrame {
    frame("compacted", id: "\(revision - 1)") { text in
      text.append("{\"type\":\"compacted\",\"compact_revision\":")
      text.append(decimal: revision)
      text.append("}")
    }
  }

  func error(_ status: GRPCStatus, hadCredentials: Bool, retries: Bool = false) -> StreamFrame {
    frame("error", id: nil, retries: retries) {
      $0.appendStreamError(status.plain(hadCredentials: hadCredentials), hadCredentials: hadCredentials)
    }
  }

  /// The answer to a client whose watch cannot begin now.
  ///
  /// - Parameter isReturn: whether the client reconnects. If it does, and the only reason is that no member can be
  ///   reached now, it gets an event: a browser reconnects after that, but never after another status than 200.
  func refusal(_ status: GRPCStatus, hadCredentials: Bool, isReturn: Bool) -> HTTPResponse {
    let refusal = HTTPResponse.error(status.plain(hadCredentials: hadCredentials), hadCredentials: hadCredentials)
    guard self == .events, isReturn, refusal.status == 503 else { return refusal }
    var body = ByteBuffer()
    body.append(error(status, hadCredentials: hadCredentials, retries: true).line)
    var response = HTTPResponse(status: 200, body: body)
    response.contentType = contentType
    response.headers = [("Cache-Control", "no-store")]
    return response
  }

  /// Sent while there is nothing else.
  static let comment = StreamFrame(isShared: true) { $0.append(": heartbeat\n") }
}

/// The events of a watch's response in one form: made once for all readers of the same watch.
final class KeyWatchFrames {
  let frames: [StreamFrame]

  /// - Parameter skipped: how many events are left out at the beginning.
  /// - Throws: `WireError` if etcd's events are malformed.
  init(_ response: WatchResponse, as form: KeyWatchForm, skipping skipped: Int = 0) throws(WireError) {
    var frames: [StreamFrame] = []
    var writer = KeyEventWriter()
    var json = ByteBuffer()
    var fault: WireError?
    var index = 0
    response.forEachEvent { event in
      index += 1
      guard fault == nil, index > skipped else { return }
      do throws(WireError) {
        json.removeAll(keepingCapacity: true)
        try writer.append(event, to: &json)
        // A client that reconnects between two events of one transaction gets the rest of it, and nothing twice.
        let id = event.isLast ? "\(event.revision)" : "\(event.revision)-\(event.number)"
        frames.append(
          form.frame(writer.isDeletion ? "delete" : "put", id: id) { text in json.withUnsafeBytes { text.append($0) } })
      } catch {
        fault = error
      }
    }
    if let fault { throw fault }
    self.frames = frames
  }
}
