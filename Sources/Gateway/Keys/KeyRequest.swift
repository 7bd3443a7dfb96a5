import GrpcBridge

/// What a request for `/keys` asks for.
struct KeyRequest {
  /// The path of ranges; keys have theirs behind it and a slash.
  static let rangePath = "/keys"
  private static let keyPrefix: StaticString = "/keys/"

  let operation: KeyOperation
  /// The key, or the keys.
  let range: KeyRange
  let query: KeyQuery

  /// Whether the rest of `path` is a key.
  static func isPath(_ path: UnsafeBufferPointer<UInt8>) -> Bool {
    path.count >= keyPrefix.utf8CodeUnitCount && zip(keyPrefix.bytes, path).allSatisfy(==)
  }

  /// - Throws: ``RequestError`` where the request has no clear meaning.
  init(_ exchange: Exchange) throws(RequestError) {
    let head = exchange.head
    let items = exchange.queryItems
    let hasPath = Self.isPath(head.path)
    // A proxy may decode a path or merge its slashes: what is in the query it leaves alone.
    let hasParameter = !hasPath && items.contains { KeyQuery.name(of: $0.name) == QueryParameter.key.rawValue }
    let isOfOneKey = hasPath || hasParameter
    guard isOfOneKey || head.method != .put else {
      throw .badRequest("there is no key: it is PUT \(Self.rangePath)/KEY or PUT \(Self.rangePath)?key=KEY")
    }
    let candidates = { KeyOperation.allCases.filter { $0.isMeant(byOneKey: isOfOneKey, head.method) } }
    query = try KeyQuery(items) { candidates().flatMap(\.parameters) + (hasPath ? [] : [.key]) }
    operation = try Self.operation(isOfOneKey, head, query)
    for parameter in query.parameters
    where parameter != .watch && parameter != .key && !operation.parameters.contains(parameter) {
      throw .badRequest("'\(parameter.rawValue)' \(Self.clash(with: operation))")
    }
    if hasPath {
      range = try Self.key(head.path)
    } else {
      range = try hasParameter ? Self.key(of: query) : Self.range(query)
    }
    if operation == .deleteKeys { try Self.checkIntent(range, query) }
  }

  private static func operation(
    _ isOfOneKey: Bool, _ head: RequestHead, _ query: KeyQuery
  ) throws(RequestError) -> KeyOperation {
    switch head.method {
    case .put: return .writeKey
    case .delete: return isOfOneKey ? .deleteKey : .deleteKeys
    default: break
    }
    let watches = query.flag(.watch)
    if watches && query.has(.wait) { throw .badRequest("'watch' and 'wait' are two ways to wait: choose one") }
    if watches { return isOfOneKey ? .watchKey : .watchKeys }
    if query.has(.wait) { return isOfOneKey ? .awaitKey : .awaitKeys }
    if isOfOneKey { return .readKey }
    return head.accepted == .lines ? .exportKeys : .listKeys
  }

  private static func clash(with operation: KeyOperation) -> String {
    switch operation {
    case .watchKey, .watchKeys: "has no meaning with watch=true"
    case .awaitKey, .awaitKeys: "has no meaning with 'wait'"
    case .exportKeys: "has no meaning with Accept: application/x-ndjson, which is about all keys of the range"
    default: "is for watch=true or 'wait'"
    }
  }

  private static func key(_ path: UnsafeBufferPointer<UInt8>) throws(RequestError) -> KeyRange {
    let rest = UnsafeBufferPointer(rebasing: path.dropFirst(keyPrefix.utf8CodeUnitCount))
    guard let key = PercentEncoding.decode(rest) else {
      throw .badRequest("the key: '%' is to be followed by two hexadecimal digits")
    }
    guard !key.isEmpty else { throw .badRequest("the key is empty; keys are listed at /keys?prefix=") }
    return .key(Bytes(key))
  }

  private static func key(of query: KeyQuery) throws(RequestError) -> KeyRange {
    guard let key = query.bytes(.key), !key.isEmpty else { throw .badRequest("key: the key is empty") }
    return .key(Bytes(key))
  }

  private static func range(_ query: KeyQuery) throws(RequestError) -> KeyRange {
    let (from, to) = (query.bytes(.from), query.bytes(.to))
    if let prefix = query.bytes(.prefix) {
      guard from == nil && to == nil else {
        throw .badRequest("'prefix' is one way to say a range, 'from' and 'to' another")
      }
      return .prefix(Bytes(prefix))
    }
    guard let to else { return .from(Bytes(from ?? [])) }
    guard !to.isEmpty else { throw .badRequest("to: no key comes before an empty one") }
    return .from(Bytes(from ?? []), upTo: Bytes(to))
  }

  /// All keys are deleted only where that is said in so many words.
  private static func checkIntent(_ range: KeyRange, _ query: KeyQuery) throws(RequestError) {
    let all = query.flag(.all)
    if all && range != .all { throw .badRequest("'all' has no meaning with 'prefix', 'from' or 'to'") }
    if !all && range == .all { throw .badRequest("this would delete all keys: if that is meant, say all=true") }
  }

  // MARK: - Who answers

  /// Who answers a request for a path of ``RouteTable/Route/key`` or ``RouteTable/Route/keys``.
  static func handler(for exchange: Exchange, shard: Shard) -> any RequestHandler {
    do throws(RequestError) {
      return try KeyRequest(exchange).handler(exchange, shard)
    } catch {
      return ConstantResponseHandler(exchange, error.status, error.code, error.message, headers: error.headers)
    }
  }

  private func handler(_ exchange: Exchange, _ shard: Shard) throws(RequestError) -> any RequestHandler {
    switch operation {
    case .readKey: return try KeyReadHandler(self, exchange: exchange, shard: shard)
    case .writeKey: return try KeyWriteHandler(self, exchange: exchange, shard: shard)
    case .deleteKey, .deleteKeys: return try KeyDeleteHandler(self, exchange: exchange, shard: shard)
    case .listKeys: return try KeyListHandler(self, exchange: exchange, shard: shard)
    case .exportKeys: return try KeyExportHandler(self, exchange: exchange, shard: shard)
    case .watchKey, .watchKeys: return try KeyWatchHandler(self, exchange: exchange, shard: shard)
    case .awaitKey, .awaitKeys: return try KeyWaitHandler(self, exchange: exchange, shard: shard)
    }
  }
}
