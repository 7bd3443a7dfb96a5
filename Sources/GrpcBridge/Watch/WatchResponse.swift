internal import EtcdSchema
import ProtobufWire

/// A response of a watch: one object for all readers of the same watch.
///
/// It is immutable except for what its readers render of it, which is kept here so that it is made once. Belongs to one
/// loop.
package final class WatchResponse {
  /// An event's end within ``events``, and its revision.
  struct Mark {
    let end: Int
    let revision: Int64
  }

  /// The content of the response header as etcd sent it.
  let header: [UInt8]
  /// The fields between watch ID and events: `created`, `canceled`, `compact_revision`, `cancel_reason`.
  let control: [UInt8]
  /// The events, in the order of their revisions; all events of a revision or none.
  let events: [UInt8]
  let marks: [Mark]
  /// Whether more events of the same response of etcd's follow, and whether the client must know.
  enum Part {
    case last
    case fragment
    case whole
  }

  private let part: Part
  /// Distinguishes what readers render of a response: the type, and which of several of that type.
  private struct Form: Hashable {
    let type: ObjectIdentifier
    let variant: Int64
  }

  /// What readers have rendered; most render the same.
  private var rendering: (form: Form, object: AnyObject)?
  private var otherRenderings: [Form: AnyObject] = [:]

  init(header: [UInt8], control: [UInt8] = [], events: [UInt8] = [], marks: [Mark] = [], part: Part = .last) {
    self.header = header
    self.control = control
    self.events = events
    self.marks = marks
    self.part = part
  }

  /// The answer to a client's cancellation.
  static func canceled(header: [UInt8]) -> WatchResponse {
    WatchResponse(header: header, control: refusal(asCreated: false, reason: ""))
  }

  /// The response for a watch that is not created.
  static func refused(header: [UInt8], asCreated: Bool = true, reason: String) -> WatchResponse {
    WatchResponse(header: header, control: refusal(asCreated: asCreated, reason: reason))
  }

  typealias Field = Etcdserverpb_WatchResponse.Field

  static func refusal(asCreated: Bool, reason: String) -> [UInt8] {
    var control: [UInt8] = []
    control.append(field: Field.created, asCreated)
    control.append(field: Field.canceled, true)
    if !reason.isEmpty { control.append(field: Field.cancelReason, Array(reason.utf8)) }
    return control
  }

  var hasEvents: Bool { !marks.isEmpty }
  /// The revisions of the first and the last event.
  package var firstRevision: Int64 { marks.first?.revision ?? 0 }
  package var lastRevision: Int64 { marks.last?.revision ?? 0 }
  /// How many events have the first one's revision.
  package var firstRevisionCount: Int { marks.prefix { $0.revision == firstRevision }.count }

  /// Only the events after `revision`; nil if there are none.
  func dropping(through revision: Int64) -> WatchResponse? {
    guard let first = marks.firstIndex(where: { $0.revision > revision }) else { return nil }
    guard first > 0 else { return self }
    let start = marks[first - 1].end
    return WatchResponse(
      header: header, control: control, events: Array(events[start...]),
      marks: marks[first...].map { Mark(end: $0.end - start, revision: $0.revision) }, part: part)
  }

  /// What a reader renders of the response: made by the first reader that needs it, and kept for the others.
  ///
  /// - Parameter variant: what it depends on besides the response and its own type, such as the watch's ID.
  package func rendering<Object: AnyObject, Fault: Error>(
    variant: Int64, make: () throws(Fault) -> Object
  ) throws(Fault) -> Object {
    let form = Form(type: ObjectIdentifier(Object.self), variant: variant)
    if let rendering, rendering.form == form { return unsafeDowncast(rendering.object, to: Object.self) }
    if let known = otherRenderings[form] { return unsafeDowncast(known, to: Object.self) }
    let object = try make()
    if rendering == nil { rendering = (form, object) } else { otherRenderings[form] = object }
    return object
  }

  /// Passes on the encoded `WatchResponse`, in pieces.
  package func encoded(watchID: Int64, _ body: (UnsafeRawBufferPointer) -> Void) {
    var start: [UInt8] = []
    // The header of a part that looks whole must not name a revision of which more follows.
    let header = part == .whole ? headerOfPart : header
    start.append(field: Field.header, header)
    start.append(field: Field.watchId, watchID)
    start += control
    start.append(field: Field.fragment, part == .fragment)
    start.withUnsafeBytes(body)
    if !events.isEmpty { events.withUnsafeBytes(body) }
  }

  private var headerOfPart: [UInt8] { Self.header(header, at: lastRevision) }

  /// The header with another revision than etcd's.
  static func header(_ header: [UInt8], at revision: Int64) -> [UInt8] {
    var result: [UInt8] = []
    header.withUnsafeBytes { bytes in
      var fields = ProtobufPullParser(bytes, in: 0..<bytes.count)
      while let field = try? fields.next() {
        if field.number == Etcdserverpb_ResponseHeader.Field.revision {
          result.append(field: field.number, revision)
        } else {
          result += bytes[field.whole]
        }
      }
    }
    return result
  }
}

/// Makes the responses of one watch from etcd's messages.
///
/// etcd is asked to send large responses in fragments. For clients that want fragments, each is cut at the end of a
/// revision. For the others they are put together, and cut at the end of a revision too if the whole would be larger
/// than ``maxJoined``. So memory is bounded by that and by the largest transaction, every part is a response of its
/// own, and after a break a watch resumes with the revision after the last whole one.
struct WatchAssembler {
  /// From how many bytes of events on a response goes out in parts.
  private static let maxJoined = 4 << 20

  let passesFragments: Bool
  /// Events that wait for the next fragment.
  private var held: [UInt8] = []
  private var heldMarks: [WatchResponse.Mark] = []

  /// How many bytes of one revision are kept before all of it has come: one transaction, or one deletion of a range.
  static let maxHeld = 1 << 28

  /// Whether more is held back than etcd can have to send for one revision.
  var holdsTooMuch: Bool { held.count > Self.maxHeld }

  /// How many bytes are held back.
  var heldCount: Int { held.count }

  /// Whether anything is held back.
  var isHolding: Bool { !heldMarks.isEmpty }

  init(passesFragments: Bool) { self.passesFragments = passesFragments }

  /// - Returns: the events whose revisions are complete; nil if there are none.
  mutating func take(_ message: WatchMessage) -> WatchResponse? {
    // Moved, not copied: otherwise a large response would be copied with each part.
    var events: [UInt8] = []
    var marks: [WatchResponse.Mark] = []
    swap(&events, &held)
    swap(&marks, &heldMarks)
    for event in message.events {
      events += message.bytes[event.range]
      marks.append(.init(end: events.count, revision: event.revision))
    }
    if message.isFragment, let last = marks.last {
      // The last revision may continue in the next fragment.
      let isLarge = passesFragments || events.count >= Self.maxJoined
      let whole = isLarge ? marks.firstIndex { $0.revision == last.revision }! : 0
      guard whole > 0 else {
        swap(&events, &held)
        swap(&marks, &heldMarks)
        return nil
      }
      let end = marks[whole - 1].end
      held = Array(events[end...])
      heldMarks = marks[whole...].map { .init(end: $0.end - end, revision: $0.revision) }
      marks.removeSubrange(whole...)
      events.removeSubrange(end...)
    }
    guard !marks.isEmpty else { return nil }
    return WatchResponse(
      header: message.header, control: message.control, events: events, marks: marks,
      part: !message.isFragment ? .last : passesFragments ? .fragment : .whole)
  }
}
