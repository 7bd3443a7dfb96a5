import ByteBuffers
import HTTPServer
import ProtobufWire
import Transcoding

/// Writes etcd's answer to a transaction, a `TxnResponse` (`etcdserverpb/kv.proto`), as JSON while it comes.
struct TxnAnswer: ~Copyable {
  /// The path of a transaction's answer within the whole answer, and how far it has come.
  private struct Level {
    let path: Int
    let shape: TxnShape
    var hasSucceeded = false
    /// How many operations were answered.
    var count = 0
    var hasBegun = false

    var operation: TxnShape.Operation? {
      let operations = hasSucceeded ? shape.then : shape.otherwise
      return count < operations.count ? operations[count] : nil
    }

    var operationCount: Int { hasSucceeded ? shape.then.count : shape.otherwise.count }
  }

  // The paths within an answer, and within an operation's.
  private typealias Path = TxnResponsePath

  private var levels: [Level]
  private(set) var revision: Int64 = 0
  private var hasRevision = false
  /// Whether the answer does not fit the request.
  private(set) var isBroken = false
  // The operation whose answer is coming.
  private var key: KeyValueFields
  private var keyCount = 0
  private var isAnswered = false
  private var hasMore = false
  private var number: Int64 = 0

  /// Whether there was no room for a key with its value.
  var isTooMuch: Bool { key.isTooMuch }

  /// - Parameter memory: counts the bytes that come.
  init(_ shape: TxnShape, _ memory: MemoryAccount) {
    levels = [Level(path: 0, shape: shape)]
    key = KeyValueFields(memory)
  }

  /// The paths of the messages within the answer that are parsed.
  static func messages(of shape: TxnShape) -> [Int] {
    var messages = [AnswerPath.header]
    var path = 0
    for _ in 0...shape.depth {
      messages += [Path.operation, Path.range, Path.rangeKeyValue, Path.put, Path.putPrevious, Path.deletion].map {
        inside(path, $0)
      }
      path = inside(path, Path.nested)
      messages.append(path)
    }
    return messages
  }

  private static func inside(_ path: Int, _ rest: Int) -> Int {
    path << (4 * ((Int.bitWidth - rest.leadingZeroBitCount + 3) / 4)) | rest
  }

  /// Whether the outermost object was begun: then the head of the answer is known.
  var hasBegun: Bool { levels[0].hasBegun }

  mutating func take(_ event: ProtobufPushParser.Event, into json: inout ByteBuffer) {
    let path =
      switch event {
      case .number(let path, _), .begin(let path, _, _), .bytes(let path, _), .end(let path): path
      }
    if case .number(path: AnswerPath.revision, let number) = event {
      revision = Int64(bitPattern: number)
      hasRevision = true
      return
    }
    enter(path, &json)
    guard !isBroken, let level = levels.last else { return isBroken = true }
    func own(_ rest: Int) -> Int { Self.inside(level.path, rest) }
    switch event {
    case .number(own(Path.succeeded), let number):
      guard !level.hasBegun else { return isBroken = true }
      levels[levels.count - 1].hasSucceeded = number != 0
    case .number(own(Path.rangeMore), let number): hasMore = number != 0
    case .number(own(Path.rangeCount), let number), .number(own(Path.deletedCount), let number):
      self.number = Int64(bitPattern: number)
    case .end(own(Path.rangeKeyValue)): endKey(&json)
    case .end(own(Path.putPrevious)): keyCount += 1
    case .end(own(Path.range)): endRange(&json)
    case .end(own(Path.put)): endPut(&json)
    case .end(own(Path.deletion)): endDeletion(&json)
    case .end(level.path) where levels.count > 1: endTransaction(&json)
    case .end(own(Path.operation)): endOperation()
    default:
      key.take(event, ofMessageAt: own(Path.rangeKeyValue))
      key.take(event, ofMessageAt: own(Path.putPrevious))
    }
  }

  /// Writes the end.
  ///
  /// - Throws: `WireError` if operations have no answer.
  mutating func finish(into json: inout ByteBuffer) throws(WireError) {
    guard !isBroken, levels.count == 1 else { throw .unexpectedFields }
    begin(&json)
    guard !isBroken, levels[0].count == levels[0].operationCount else { throw .unexpectedFields }
    json.append("]}")
  }

  // MARK: - Parts

  /// Begins the answer of a nested transaction if the path is within it.
  private mutating func enter(_ path: Int, _ json: inout ByteBuffer) {
    guard let level = levels.last, case .txn(let shape)? = level.operation, !isAnswered else { return }
    let nested = Self.inside(level.path, Path.nested)
    var outer = path
    while outer > nested { outer >>= 4 }
    guard outer == nested else { return }
    beginOperation("txn", &json)
    levels.append(Level(path: nested, shape: shape))
  }

  /// Writes the beginning of the innermost transaction's answer, before the first of its operations.
  private mutating func begin(_ json: inout ByteBuffer) {
    guard hasRevision else { return isBroken = true }
    let last = levels.count - 1
    guard !levels[last].hasBegun else { return }
    levels[last].hasBegun = true
    json.append("{\"revision\":")
    json.append(decimal: revision)
    json.append(levels[last].hasSucceeded ? ",\"succeeded\":true" : ",\"succeeded\":false")
    json.append(",\"responses\":[")
  }

  private mutating func beginOperation(_ name: StaticString, _ json: inout ByteBuffer) {
    begin(&json)
    json.append(levels[levels.count - 1].count == 0 ? "{\"" : ",{\"")
    json.append(name)
    json.append("\":")
  }

  private mutating func endKey(_ json: inout ByteBuffer) {
    switch levels.last?.operation {
    case .getKey where keyCount == 0:
      beginOperation("get", &json)
      key.appendJSON(to: &json)
    case .getKeys(let selection) where !selection.countOnly:
      if keyCount == 0 { beginRange(selection, &json) } else { json.append(",") }
      key.appendJSON(to: &json, hasValue: !selection.keysOnly)
    default: return isBroken = true
    }
    keyCount += 1
    key.reset()
  }

  private mutating func beginRange(_ selection: TxnShape.Selection, _ json: inout ByteBuffer) {
    beginOperation("get", &json)
    json.append("{\"revision\":")
    json.append(decimal: selection.revision > 0 ? selection.revision : revision)
    if !selection.countOnly { json.append(",\"keys\":[") }
  }

  private mutating func endRange(_ json: inout ByteBuffer) {
    switch levels.last?.operation {
    case .getKey:
      if keyCount == 0 {
        beginOperation("get", &json)
        json.append("null")
      }
    case .getKeys(let selection):
      if keyCount == 0 { beginRange(selection, &json) }
      json.append(selection.countOnly ? ",\"count\":" : "],\"count\":")
      json.append(decimal: number)
      if hasMore { json.append(",\"more\":true") }
      json.append("}")
    default: return isBroken = true
    }
    answered(&json)
  }

  private mutating func endPut(_ json: inout ByteBuffer) {
    guard case .put(let wantsPrevious)? = levels.last?.operation, keyCount <= 1 else { return isBroken = true }
    beginOperation("put", &json)
    json.append("{\"revision\":")
    json.append(decimal: revision)
    if wantsPrevious {
      json.append(",\"prev\":")
      if keyCount > 0 { key.appendJSON(to: &json) } else { json.append("null") }
    }
    json.append("}")
    answered(&json)
  }

  private mutating func endDeletion(_ json: inout ByteBuffer) {
    guard case .delete? = levels.last?.operation else { return isBroken = true }
    beginOperation("delete", &json)
    json.append("{\"deleted\":")
    json.append(decimal: number)
    json.append(",\"revision\":")
    json.append(decimal: revision)
    json.append("}")
    answered(&json)
  }

  private mutating func endTransaction(_ json: inout ByteBuffer) {
    begin(&json)
    guard let level = levels.popLast(), level.count == level.operationCount else { return isBroken = true }
    json.append("]}")
    answered(&json)
  }

  /// The operation has its answer: ends the object around it.
  private mutating func answered(_ json: inout ByteBuffer) {
    guard !isAnswered else { return isBroken = true }
    isAnswered = true
    json.append("}")
  }

  private mutating func endOperation() {
    guard isAnswered else { return isBroken = true }
    levels[levels.count - 1].count += 1
    key.reset()
    (keyCount, isAnswered, hasMore, number) = (0, false, false, 0)
  }
}
