import ProtobufWire
import Transcoding

/// A put of one key.
struct KeyPut {
  let key: [UInt8]
  var lease: Int64 = 0
  /// The time to live of the lease that is to be granted, in seconds.
  var ttl: Int64?
  var wantsPrevious = false
  var condition: KeyCondition?

  /// What a request says whose body is the value.
  ///
  /// - Throws: ``RequestError`` where it contradicts itself.
  init(_ request: KeyRequest, _ head: RequestHead) throws(RequestError) {
    key = request.range.start.array
    lease = request.query.integer(.lease) ?? 0
    ttl = request.query.time(.ttl).map { TimeSpan(milliseconds: $0).wholeSeconds }
    wantsPrevious = request.query.flag(.prev)
    condition = try KeyCondition(head)
    if ttl != nil && lease != 0 { throw .badRequest(Self.twoLeases) }
  }

  private static let twoLeases = "'lease' is a lease that is there, 'ttl' a new one: choose one"

  // MARK: - In JSON

  private enum Member: String, CaseIterable {
    case key
    case keyBase64 = "key_base64"
    case value
    case valueBase64 = "value_base64"
    case lease
    case ttl
    case ifModRevision = "if_mod_revision"
    case ifAbsent = "if_absent"
    case prev

    static let table = JSONMembers(allCases)
    /// Those of an operation of a transaction.
    static let ofOperation = JSONMembers(allCases, refused: [.ttl, .ifModRevision, .ifAbsent])
  }

  /// Reads a put with its value.
  ///
  /// - Parameter isAlone: whether it is a request of its own, and not an operation of a transaction, which has conditions
  ///   of its own and takes leases that are there.
  /// - Returns: the put, and the value.
  /// - Throws: `TranscodingError` where it is none.
  static func read(
    _ json: inout JSONDocument, isAlone: Bool
  ) throws(TranscodingError) -> (put: KeyPut, value: [UInt8]) {
    var (key, value) = (PlainBytes(), PlainBytes())
    var (lease, ttl, prev): (Int64, Int64?, Bool) = (0, nil, false)
    var (version, isAbsent): (Int64?, Bool) = (nil, false)
    try json.object(isAlone ? Member.table : Member.ofOperation) { json, member throws(TranscodingError) in
      switch member {
      case .key: try key.read(&json)
      case .keyBase64: try key.read(&json, isBase64: true)
      case .value: try value.read(&json)
      case .valueBase64: try value.read(&json, isBase64: true)
      case .lease: lease = try json.lease(orNone: true)
      case .prev: prev = try json.bool()
      case .ttl:
        guard isAlone else {
          throw json.refusal("a transaction takes a 'lease' that is there: POST /leases grants one")
        }
        ttl = try json.ttl()
      case .ifModRevision, .ifAbsent:
        guard isAlone else { throw json.refusal("a transaction has its conditions in 'if'") }
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

  /// How large the `PutRequest` is, in bytes.
  func wireCount(of value: UnsafeRawBufferPointer) -> Int {
    ByteBuffer.wireCount(ofField: key.count) + ByteBuffer.wireCount(ofField: value.count)
      + ByteBuffer.wireCount(ofNumber: lease) + (wantsPrevious ? 2 : 0)
  }

  /// Appends the `PutRequest` (`etcdserverpb/kv.proto`).
  func write(_ value: UnsafeRawBufferPointer, to message: inout ByteBuffer) {
    message.append(field: 1, key)
    message.append(field: 2, value)
    message.append(field: 3, lease)
    message.append(field: 4, wantsPrevious)
  }
}
