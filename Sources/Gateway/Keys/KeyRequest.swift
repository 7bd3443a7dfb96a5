import ByteBuffers
import GrpcBridge
import HTTPServer

/// A request for `/keys`.
struct KeyRequest {
  /// The path of ranges; the path of a key has a slash and the key after it.
  static let rangePath = "/keys"
  private static let keyPrefix: StaticString = "/keys/"
  /// The path that is only for changes.
  static let changesPath = "/changes"

  let operation: KeyOperation
  /// The key, or the keys.
  let range: KeyRange
  let query: KeyQuery
  /// Whether the query names the key; then the answer is JSON.
  let isByQuery: Bool

  /// Whether the rest of `path` is a key.
  static func isPath(_ path: UnsafeBufferPointer<UInt8>) -> Bool {
    path.count >= keyPrefix.utf8CodeUnitCount && zip(keyPrefix.bytes, path).allSatisfy(==)
  }

  /// - Throws: ``RequestError`` if the request has no clear meaning.
  init(_ exchange: Exchange) throws(RequestError) {
    let items = exchange.queryItems
    let hasPath = Self.isPath(exchange.head.path)
    if exchange.head.method == .post && !exchange.head.hasLines { try KeyQuery.checkIsEmpty(items) }
    // A proxy may decode a path or merge its slashes, but leaves the query alone.
    let hasParameter = !hasPath && items.contains { KeyQuery.name(of: $0.name) == QueryParameter.key.rawValue }
    let isOfOneKey = hasPath || hasParameter
    isByQuery = hasParameter
    guard isOfOneKey || exchange.head.method != .put else {
      throw .badRequest("the key is missing: send PUT \(Self.rangePath)/KEY or PUT \(Self.rangePath)?key=KEY")
    }
    let isOfChanges = !hasPath && exchange.head.path.elementsEqual(Self.changesPath.utf8)
    let candidates = {
      KeyOperation.allCases.filter {
        $0.isMeant(byOneKey: isOfOneKey, exchange.head.method) && (!isOfChanges || $0.isOfChanges)
      }
    }
    query = try KeyQuery(items) {
      candidates().flatMap(\.parameters).filter { !isOfChanges || $0 != .watch }
        + (hasPath ? [] : [.key])
    }
    operation = try isOfChanges ? Self.changes(isOfOneKey, query) : Self.operation(isOfOneKey, exchange.head, query)
    for parameter in query.parameters
    where parameter != .watch && parameter != .key && !operation.parameters.contains(parameter) {
      throw .badRequest("'\(parameter.rawValue)' \(Self.clash(with: operation))")
    }
    if hasPath {
      range = try Self.key(exchange.head.path)
    } else {
      range = try hasParameter ? Self.key(of: query) : Self.range(query)
    }
    if operation == .deleteKeys { try Self.checkIntent(range, query) }
  }

  private static func operation(
    _ isOfOneKey: Bool, _ head: borrowing RequestHead, _ query: KeyQuery
  ) throws(RequestError) -> KeyOperation {
    switch head.method {
    case .put: return .putValue
    case .post: return head.hasLines ? .importKeys : .putKey
    case .delete: return isOfOneKey ? .deleteKey : .deleteKeys
    default: break
    }
    let watches = query.flag(.watch)
    if watches && query.has(.wait) { throw .badRequest("'watch' and 'wait' are two ways to wait: choose one") }
    if watches { return isOfOneKey ? .watchKey : .watchKeys }
    if query.has(.wait) { return isOfOneKey ? .awaitKey : .awaitKeys }
    if isOfOneKey { return .getKey }
    return head.accepted == .lines ? .exportKeys : .listKeys
  }

  private static func changes(_ isOfOneKey: Bool, _ query: KeyQuery) throws(RequestError) -> KeyOperation {
    if query.has(.wait) { return isOfOneKey ? .awaitKey : .awaitKeys }
    return isOfOneKey ? .watchKey : .watchKeys
  }

  private static func clash(with operation: KeyOperation) -> String {
    switch operation {
    case .watchKey, .watchKeys: "has no meaning with watch=true"
    case .awaitKey, .awaitKeys: "has no meaning with 'wait'"
    case .exportKeys: "has no meaning with Accept: application/x-ndjson, which exports all keys of the range"
    default: "is for watch=true or 'wait'"
    }
  }

  private static func key(_ path: UnsafeBufferPointer<UInt8>) throws(RequestError) -> KeyRange {
    let rest = UnsafeBufferPointer(rebasing: path.dropFirst(keyPrefix.utf8CodeUnitCount))
    guard let key = PercentEncoding.decode(rest) else {
      throw .badRequest("the key: '%' must be followed by two hexadecimal digits")
    }
    guard !key.isEmpty else { throw .badRequest("the key is empty; keys are listed at /keys?prefix=") }
    return .key(Bytes(key))
  }

  private static func key(of query: KeyQuery) throws(RequestError) -> KeyRange {
    guard let key = query.bytes(.key), !key.isEmpty else { throw .badRequest("key: the key is empty") }
    return .key(Bytes(key))
  }

  private static func range(_ query: KeyQuery) throws(RequestError) -> KeyRange {
    try KeyRange(prefix: query.bytes(.prefix), from: query.bytes(.from), to: query.bytes(.to))
  }

  /// A deletion of all keys must be requested explicitly.
  private static func checkIntent(_ range: KeyRange, _ query: KeyQuery) throws(RequestError) {
    let all = query.flag(.all)
    if all && range != .all { throw .badRequest("'all' has no meaning with 'prefix', 'from' or 'to'") }
    if !all && range == .all { throw .badRequest("this would delete all keys: to confirm, send all=true") }
  }
}
