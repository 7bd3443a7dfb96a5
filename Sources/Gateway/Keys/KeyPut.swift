import ByteBuffers
import EtcdSchema
import HTTPServer
import ProtobufWire
import Transcoding

/// A put of one key.
struct KeyPut {
  let key: [UInt8]
  var lease: Int64 = 0
  /// The time to live of the lease to be granted, in seconds.
  var ttl: Int64?
  var wantsPrevious = false
  var condition: KeyCondition?

  /// Reads the put of a request whose body is the value.
  ///
  /// - Throws: ``RequestError`` if it contradicts itself.
  init(_ request: KeyRequest, _ head: borrowing RequestHead) throws(RequestError) {
    key = request.range.start.array
    lease = request.query.integer(.lease) ?? 0
    ttl = request.query.time(.ttl).map { TimeSpan(milliseconds: $0).wholeSeconds }
    wantsPrevious = request.query.flag(.prev)
    condition = try KeyCondition(head)
    if ttl != nil && lease != 0 { throw .badRequest(Self.twoLeases) }
  }

  private static let twoLeases = "'lease' names an existing lease, 'ttl' grants a new one: choose one"

  // MARK: - In JSON

  fileprivate enum Member: String, CaseIterable {
    case key
    case keyBase64 = "key_base64"
    case value
    case valueBase64 = "value_base64"
    case lease
    case ttl
    case ifModRevision = "if_mod_revision"
    case ifAbsent = "if_absent"
    case prev
    // Further members of a key in answers.
    case createRevision = "create_revision"
    case modRevision = "mod_revision"
    case version

    private static let ofPut = allCases.filter { !history.contains($0) }
    private static let history: [Self] = [.createRevision, .modRevision, .version]
    static let ofRequest = JSONMembers(ofPut)
    static let ofOperation = JSONMembers(ofPut, refused: [.ttl, .ifModRevision, .ifAbsent])
    static let ofLine = JSONMembers(allCases, refused: [.ttl, .ifModRevision, .ifAbsent, .prev] + history)
  }

  /// The context of a put.
  enum Place {
    /// A request of its own.
    case request
    /// An operation of a transaction, which has its own conditions, and uses existing leases.
    case operation
    /// A line of an import, which may come from an export.
    case line

    fileprivate var members: JSONMembers<Member> {
      switch self {
      case .request: Member.ofRequest
      case .operation: Member.ofOperation
      case .line: Member.ofLine
      }
    }
  }

  /// Reads a put with its value.
  ///
  /// - Parameter place: the context.
  /// - Returns: the put, and the value.
  /// - Throws: `TranscodingError` if it is malformed.
  static func read(
    _ json: inout JSONDocument, as place: Place
  ) throws(TranscodingError) -> (put: KeyPut, value: [UInt8]) {
    var (key, value) = (PlainBytes(), PlainBytes())
    var (lease, ttl, prev): (Int64, Int64?, Bool) = (0, nil, false)
    var (version, isAbsent): (Int64?, Bool) = (nil, false)
    try json.object(place.members) { json, member throws(TranscodingError) in
      switch member {
      case .key: try key.read(&json)
      case .keyBase64: try key.read(&json, isBase64: true)
      case .value: try value.read(&json)
      case .valueBase64: try value.read(&json, isBase64: true)
      case .lease: lease = try json.lease(orNone: true)
      case .createRevision, .modRevision, .version: _ = try json.revision()
      case .prev where place == .line: throw json.refusal("an import has no answers for single keys")
      case .prev: prev = try json.bool()
      case .ttl:
        guard place == .request else {
          let whole = place == .line ? "an import" : "a transaction"
          throw json.refusal("\(whole) takes the 'lease' of an existing one: POST /leases grants it")
        }
        ttl = try json.ttl()
      case .ifModRevision, .ifAbsent:
        guard place == .request else {
          throw json.refusal(
            place == .line ? "an import puts each key unconditionally" : "a transaction has its conditions in 'if'")
        }
        if member == .ifAbsent { isAbsent = try json.bool() } else { version = try json.revision() }
      }
    }
    var put = KeyPut(key: try key.key(json), lease: lease, ttl: ttl, wantsPrevious: prev)
    let content = try value.value(json)
    if ttl != nil && lease != 0 { throw json.refusal(twoLeases) }
    switch (version, isAbsent) {
    case (nil, false): break
    case (nil, true), (0, false): put.condition = .isAbsent
    case (let version?, false): put.condition = .isOf(revision: version)
    default: throw json.refusal("'if_mod_revision' and 'if_absent' are two conditions: choose one")
    }
    return (put, content)
  }

  private init(key: [UInt8], lease: Int64, ttl: Int64?, wantsPrevious: Bool) {
    self.key = key
    self.lease = lease
    self.ttl = ttl
    self.wantsPrevious = wantsPrevious
  }

  // MARK: - For etcd

  /// The size of the `PutRequest`, in bytes.
  func wireCount(of value: UnsafeRawBufferPointer) -> Int {
    ByteBuffer.wireCount(ofField: key.count) + ByteBuffer.wireCount(ofField: value.count)
      + ByteBuffer.wireCount(ofNumber: lease) + (wantsPrevious ? 2 : 0)
  }

  /// Appends the `PutRequest`.
  func write(_ value: UnsafeRawBufferPointer, to message: inout ByteBuffer) {
    typealias Field = Etcdserverpb_PutRequest.Field
    message.append(field: Field.key, key)
    message.append(field: Field.value, value)
    message.append(field: Field.lease, lease)
    message.append(field: Field.prevKv, wantsPrevious)
  }
}
