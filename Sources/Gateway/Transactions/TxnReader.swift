import ByteBuffers
import EtcdSchema
import GrpcBridge
import ProtobufWire
import Transcoding

/// Reads a transaction in plain JSON, and writes it as a `TxnRequest` of etcd's (`etcdserverpb/kv.proto`).
///
/// Its operations have the same members as separate requests, with the same meaning.
struct TxnReader {
  /// How many levels of transactions may be nested in the outermost one. etcd has no limit, and goes through all of
  /// them.
  static let maxDepth = 3

  /// How many comparisons and operations a transaction may have in all unless a flag sets another limit: 1.5 MiB,
  /// etcd's default limit, in pieces of 157 bytes. etcd's own limit, of each list, may be raised up to it from 128. A
  /// body with nothing else does not delay other clients of the shard.
  static let maxOperations = 10_000

  private let most: Int
  /// How many more there may be.
  private var left: Int

  private init(most: Int) { (self.most, left) = (most, most) }

  private enum Member: String, CaseIterable {
    case `if`
    case then
    case `else`

    static let table = JSONMembers(allCases)
  }

  /// Reads a document and appends the request to `message`.
  ///
  /// - Parameter most: how many comparisons and operations it may have, including nested transactions.
  /// - Returns: the shape of the answer.
  /// - Throws: `TranscodingError`, which names the member.
  static func read(
    _ bytes: UnsafeRawBufferPointer, into message: inout ByteBuffer, most: Int
  ) throws(TranscodingError) -> TxnShape {
    var reader = TxnReader(most: most)
    return try JSONDocument.read(bytes) { json throws(TranscodingError) in
      try reader.transaction(&json, into: &message, depth: 0)
    }
  }

  private mutating func transaction(
    _ json: inout JSONDocument, into message: inout ByteBuffer, depth: Int
  ) throws(TranscodingError) -> TxnShape {
    guard depth <= Self.maxDepth else {
      throw json.refusal("transactions are nested more than \(Self.maxDepth) deep")
    }
    var shape = TxnShape()
    try json.object(Member.table) { json, member throws(TranscodingError) in
      try json.array { json throws(TranscodingError) in
        try count(json)
        switch member {
        case .if: try Self.comparison(&json).write(to: &message)
        case .then:
          shape.then.append(
            try operation(&json, asField: Etcdserverpb_TxnRequest.Field.success, of: &message, depth: depth))
        case .else:
          shape.otherwise.append(
            try operation(&json, asField: Etcdserverpb_TxnRequest.Field.failure, of: &message, depth: depth))
        }
      }
    }
    return shape
  }

  /// Counts the comparison or operation that is read next.
  private mutating func count(_ json: JSONDocument) throws(TranscodingError) {
    guard left > 0 else {
      throw json.refusal("a transaction has at most \(most) comparisons and operations (--max-txn-ops)")
    }
    left -= 1
  }

  // MARK: - Comparisons

  private enum ComparisonMember: String, CaseIterable {
    case key
    case keyBase64 = "key_base64"
    case version
    case createRevision = "create_revision"
    case modRevision = "mod_revision"
    case value
    case valueBase64 = "value_base64"
    case lease
    case relation = "is"

    static let table = JSONMembers(allCases)
  }

  private static func comparison(_ json: inout JSONDocument) throws(TranscodingError) -> KeyComparison {
    var key = PlainBytes()
    var relation = KeyComparison.Relation.equal
    var subject: KeyComparison.Subject?
    try json.object(ComparisonMember.table) { json, member throws(TranscodingError) in
      var value = PlainBytes()
      var new: KeyComparison.Subject?
      switch member {
      case .key: try key.read(&json)
      case .keyBase64: try key.read(&json, isBase64: true)
      case .relation: relation = try Self.relation(&json)
      case .version: new = .version(try json.revision())
      case .createRevision: new = .createRevision(try json.revision())
      case .modRevision: new = .modRevision(try json.revision())
      case .lease: new = .lease(try json.lease(orNone: true))
      case .value, .valueBase64:
        try value.read(&json, isBase64: member == .valueBase64)
        new = value.bytes.map { .value($0) }
      }
      guard let new else { return }
      guard subject == nil else { throw json.refusal("a comparison compares one value: use one for each") }
      subject = new
    }
    let name = try key.key(json)
    guard let subject else {
      throw json.refusal(
        "the value to compare is missing: 'version', 'create_revision', 'mod_revision', 'value' or 'lease'")
    }
    return KeyComparison(key: name, relation: relation, subject: subject)
  }

  private static func relation(_ json: inout JSONDocument) throws(TranscodingError) -> KeyComparison.Relation {
    switch String(decoding: try json.text(), as: UTF8.self) {
    case "=": return .equal
    case "!=": return .notEqual
    case ">": return .greater
    case "<": return .less
    default: throw json.refusal("expected one of =, !=, > and <")
    }
  }

  // MARK: - Operations

  private enum OperationMember: String, CaseIterable {
    case put
    case get
    case delete
    case txn

    static let table = JSONMembers(allCases)
  }

  /// Reads an operation and appends it as a `RequestOp`.
  private mutating func operation(
    _ json: inout JSONDocument, asField field: Int, of message: inout ByteBuffer, depth: Int
  ) throws(TranscodingError) -> TxnShape.Operation {
    typealias Field = Etcdserverpb_RequestOp.Field
    var operation: TxnShape.Operation?
    var request = ByteBuffer()
    var number = 0
    try json.object(OperationMember.table) { json, member throws(TranscodingError) in
      guard operation == nil else { throw json.refusal("an element has one operation: use one element for each") }
      switch member {
      case .get: (number, operation) = (Field.requestRange, try Self.get(&json, into: &request))
      case .put:
        let (put, value) = try KeyPut.read(&json, as: .operation)
        value.withUnsafeBytes { put.write($0, to: &request) }
        (number, operation) = (Field.requestPut, .put(wantsPrevious: put.wantsPrevious))
      case .delete: (number, operation) = (Field.requestDeleteRange, try Self.delete(&json, into: &request))
      case .txn:
        (number, operation) = (Field.requestTxn, .txn(try transaction(&json, into: &request, depth: depth + 1)))
      }
    }
    guard let operation else { throw json.refusal("an operation is missing: 'put', 'get', 'delete' or 'txn'") }
    message.append(field: field, ofCount: ByteBuffer.wireCount(ofField: request.count))
    request.withUnsafeBytes { message.append(field: number, $0) }
    return operation
  }

  private static func get(
    _ json: inout JSONDocument, into request: inout ByteBuffer
  ) throws(TranscodingError) -> TxnShape.Operation {
    var range = PlainRange()
    var (revision, limit): (Int64, Int64?) = (0, nil)
    var (keysOnly, countOnly) = (false, false)
    var (sort, order): (String?, String?) = (nil, nil)
    try json.object(PlainRange.Member.table) { json, member throws(TranscodingError) in
      switch member {
      case .revision: revision = try json.number(of: .revision)
      case .limit: limit = try json.number(of: .limit)
      case .keysOnly: keysOnly = try json.bool()
      case .countOnly: countOnly = try json.bool()
      case .sort: sort = try json.word(of: .sort)
      case .order: order = try json.word(of: .order)
      default: try range.read(member, &json)
      }
    }
    var selection = KeySelection(try range.range(json))
    selection.revision = revision
    guard !range.isOneKey else {
      guard limit == nil, !keysOnly, !countOnly, sort == nil, order == nil else {
        throw json.refusal(
          "'limit', 'keys_only', 'count_only', 'sort' and 'order' apply to a range, not to one 'key'")
      }
      selection.write(to: &request)
      return .getKey
    }
    selection.limit = limit ?? QueryParameter.limit.standard.flatMap { Int64($0) } ?? 0
    selection.keysOnly = keysOnly
    selection.countOnly = countOnly
    selection.sort(by: sort, order: order)
    selection.write(to: &request)
    return .getKeys(TxnShape.Selection(revision: revision, keysOnly: keysOnly, countOnly: countOnly))
  }

  private static func delete(
    _ json: inout JSONDocument, into request: inout ByteBuffer
  ) throws(TranscodingError) -> TxnShape.Operation {
    var range = PlainRange()
    try json.object(PlainRange.Member.ofRange) { json, member throws(TranscodingError) in
      try range.read(member, &json)
    }
    try range.range(json).writeDeletion(to: &request)
    return .delete
  }
}

extension JSONDocument {
  /// Reads a number, within the bounds of a parameter.
  fileprivate mutating func number(of parameter: QueryParameter) throws(TranscodingError) -> Int64 {
    guard case .integer(let range) = parameter.kind else { return 0 }
    return try integer(in: range)
  }

  /// Reads one of the words of a parameter.
  fileprivate mutating func word(of parameter: QueryParameter) throws(TranscodingError) -> String {
    guard case .choice(let words) = parameter.kind else { return "" }
    let word = String(decoding: try text(), as: UTF8.self)
    guard words.contains(word) else { throw refusal("expected one of \(words.joined(separator: ", "))") }
    return word
  }
}
