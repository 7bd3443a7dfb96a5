import GrpcBridge
import HTTPServer
import Transcoding

// Members that requests in JSON share. Their names are those of parameters, and of members of answers.

/// Bytes that a document has as text or, under another name, in base64.
struct PlainBytes {
  private(set) var bytes: [UInt8]?

  /// - Throws: `TranscodingError` if the other form has occurred already.
  mutating func read(_ json: inout JSONDocument, isBase64: Bool = false) throws(TranscodingError) {
    let new = try isBase64 ? json.base64() : json.text()
    guard bytes == nil else { throw json.refusal("it occurs as text and as base64: choose one") }
    bytes = new
  }

  /// The bytes of a key.
  ///
  /// - Throws: `TranscodingError` if there is none.
  func key(_ json: JSONDocument) throws(TranscodingError) -> [UInt8] {
    guard let bytes else { throw json.refusal("'key' (or 'key_base64') is missing") }
    guard !bytes.isEmpty else { throw json.refusal("the key is empty").within("key") }
    return bytes
  }

  /// The bytes of a value.
  ///
  /// - Throws: `TranscodingError` if there is none.
  func value(_ json: JSONDocument) throws(TranscodingError) -> [UInt8] {
    guard let bytes else { throw json.refusal("'value' (or 'value_base64') is missing") }
    return bytes
  }
}

/// The keys of an operation in a document.
struct PlainRange {
  /// The members of an operation on the keys of a range.
  enum Member: String, CaseIterable {
    case key
    case keyBase64 = "key_base64"
    case prefix
    case prefixBase64 = "prefix_base64"
    case from
    case fromBase64 = "from_base64"
    case to
    case toBase64 = "to_base64"
    case all
    // The further members of a read.
    case revision
    case limit
    case keysOnly = "keys_only"
    case countOnly = "count_only"
    case sort
    case order

    static let table = JSONMembers(allCases)
    /// The members that select keys.
    static let ofRange = JSONMembers<Member>([
      .key, .keyBase64, .prefix, .prefixBase64, .from, .fromBase64, .to, .toBase64, .all,
    ])
  }

  private var key = PlainBytes()
  private var prefix = PlainBytes()
  private var from = PlainBytes()
  private var to = PlainBytes()
  /// Whether the document says explicitly that all keys are meant.
  private var isAll = false

  /// Reads one of the members that select keys.
  mutating func read(_ member: Member, _ json: inout JSONDocument) throws(TranscodingError) {
    switch member {
    case .key: try key.read(&json)
    case .keyBase64: try key.read(&json, isBase64: true)
    case .prefix: try prefix.read(&json)
    case .prefixBase64: try prefix.read(&json, isBase64: true)
    case .from: try from.read(&json)
    case .fromBase64: try from.read(&json, isBase64: true)
    case .to: try to.read(&json)
    case .toBase64: try to.read(&json, isBase64: true)
    case .all: isAll = try json.bool()
    case .revision, .limit, .keysOnly, .countOnly, .sort, .order: break
    }
  }

  var isOneKey: Bool { key.bytes != nil }

  /// - Throws: `TranscodingError` if they select no range, or contradict each other.
  func range(_ json: JSONDocument) throws(TranscodingError) -> KeyRange {
    if key.bytes != nil {
      guard prefix.bytes == nil, from.bytes == nil, to.bytes == nil, !isAll else {
        throw json.refusal("'key' selects one key; 'prefix', 'from', 'to' and 'all' a range: choose one")
      }
      return .key(Bytes(try key.key(json)))
    }
    do throws(RequestError) {
      let range = try KeyRange(prefix: prefix.bytes, from: from.bytes, to: to.bytes)
      if isAll && range != .all { throw .badRequest("'all' has no meaning with 'prefix', 'from' or 'to'") }
      if !isAll && range == .all { throw .badRequest("this selects all keys: to confirm, set all: true") }
      return range
    } catch {
      throw json.refusal(error.message)
    }
  }
}

extension KeyRange {
  /// The range that parameters or members select; all keys if there are none.
  ///
  /// - Throws: ``RequestError`` if they contradict each other.
  init(prefix: [UInt8]?, from: [UInt8]?, to: [UInt8]?) throws(RequestError) {
    if let prefix {
      guard from == nil && to == nil else {
        throw .badRequest("'prefix' is one way to select a range, 'from' and 'to' another: choose one")
      }
      self = .prefix(Bytes(prefix))
    } else if let to {
      guard !to.isEmpty else { throw .badRequest("to: no key comes before an empty one") }
      self = .from(Bytes(from ?? []), upTo: Bytes(to))
    } else {
      self = .from(Bytes(from ?? []))
    }
  }
}

extension JSONDocument {
  /// Reads a time to live, in seconds: a text such as `60s` or `1h`, or a number of seconds. It is never rounded down.
  mutating func ttl() throws(TranscodingError) -> Int64 {
    guard case .time(let range) = QueryParameter.ttl.kind else { return 0 }
    return try time(in: range, such: "\"60s\", \"5m\" or \"1h\"").wholeSeconds
  }

  /// Reads the time of a wait, in milliseconds, in the same forms: at most as long as a request may wait for changes; 0
  /// is allowed.
  mutating func wait() throws(TranscodingError) -> UInt64 {
    guard case .time(let range) = QueryParameter.wait.kind else { return 0 }
    return try time(in: 0...range.upperBound, such: "\"10s\" or \"5m\"").milliseconds
  }

  private mutating func time(
    in range: ClosedRange<UInt64>, such examples: String
  ) throws(TranscodingError) -> TimeSpan {
    guard try isAtString() else {
      let seconds = try integer(in: Int64(range.lowerBound / 1000)...Int64(range.upperBound / 1000))
      return TimeSpan(milliseconds: UInt64(seconds) * 1000)
    }
    let text = String(decoding: try text(), as: UTF8.self)
    guard let span = TimeSpan(argument: text), range.contains(span.milliseconds) else {
      throw refusal(
        "expected a time such as \(examples), from \(range.lowerBound / 1000)s to \(range.upperBound / 1000)s")
    }
    return span
  }

  /// Reads the ID of a lease: decimal digits in a string, as in answers, or a number.
  ///
  /// - Parameter orNone: whether it may be 0, which in answers means no lease.
  mutating func lease(orNone: Bool = false) throws(TranscodingError) -> Int64 {
    let lease = try integer(in: Int64.min...Int64.max)
    guard lease != 0 || orNone else { throw refusal("expected an integer other than 0") }
    return lease
  }

  /// Reads a revision or a version: 0 is that of a key that does not exist.
  mutating func revision() throws(TranscodingError) -> Int64 { try integer(in: 0...Int64.max) }
}

extension TimeSpan {
  /// In seconds, rounded up.
  var wholeSeconds: Int64 { Int64((milliseconds + 999) / 1000) }
}
