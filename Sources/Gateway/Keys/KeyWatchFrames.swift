import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// In which form a watch of keys is told.
enum KeyWatchForm: Int64 {
  /// A JSON document on each line.
  case lines
  /// Server-Sent Events (HTML Standard, section 9.2), with the same documents as their data.
  case events

  var contentType: StaticString { (self == .lines ? MediaType.lines : .events).name }

  /// A frame of one document.
  ///
  /// - Parameters:
  ///   - type: what it tells of.
  ///   - id: where a client goes on that has seen it; nil if that does not change.
  ///   - retries: whether to say how soon to come back.
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

  /// How far the watch is: nothing more will come up to that revision.
  ///
  /// - Parameter skipped: how many events of the next revision will not come, either.
  func progress(_ revision: Int64, skipped: Int = 0, retries: Bool = false) -> StreamFrame {
    let id = skipped > 0 ? "\(revision + 1)-\(skipped)" : "\(revision)"
    return frame("progress", id: id, retries: retries) { text in
      text.append("{\"type\":\"progress\",\"revision\":")
      text.append(decimal: revision)
      text.append("}")
    }
  }

  /// That changes before `revision` are forgotten, of which the client needs some. A client that reconnects receives
  /// those from then on.
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

  /// The answer to a client that cannot be watched for as things are.
  ///
  /// - Parameter isReturn: whether it was here before. If it was, and the only fault is that no member is there to
  ///   serve it now, it is told so by an event: a browser comes again after that, and never after another status than
  ///   200.
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

  /// What is sent while there is nothing to tell.
  static let comment = StreamFrame(isShared: true) { $0.append(": heartbeat\n") }
}

/// The events of a watch's response in one form: made once for all who read the same watch in it.
final class KeyWatchFrames {
  let frames: [StreamFrame]

  /// - Parameter skipped: how many events are left out at the beginning.
  /// - Throws: `WireError` where etcd's events are none.
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
