import HTTPServer

/// The operations of `/keys` and `/changes`, in one table. The raw value is the operation's name in the API's
/// description.
enum KeyOperation: String, CaseIterable {
  case getKey
  case putValue
  case putKey
  case importKeys
  case deleteKey
  case watchKey
  case awaitKey
  case listKeys
  case exportKeys
  case watchKeys
  case awaitKeys
  case deleteKeys

  /// Whether it is about the one key in its path, not about a range.
  var isOfOneKey: Bool {
    switch self {
    case .getKey, .putValue, .deleteKey, .watchKey, .awaitKey: true
    // Their bodies name the keys.
    case .putKey, .importKeys: false
    case .listKeys, .exportKeys, .watchKeys, .awaitKeys, .deleteKeys: false
    }
  }

  /// Whether it is about changes, and so has the path `/changes`, too.
  var isOfChanges: Bool {
    switch self {
    case .watchKey, .awaitKey, .watchKeys, .awaitKeys: true
    case .getKey, .putValue, .putKey, .importKeys, .deleteKey, .listKeys, .exportKeys, .deleteKeys: false
    }
  }

  /// Its method. For operations that read, `HEAD` is the same without the body.
  var method: HTTPMethod {
    switch self {
    case .getKey, .watchKey, .awaitKey, .listKeys, .exportKeys, .watchKeys, .awaitKeys: .get
    case .putValue: .put
    case .putKey, .importKeys: .post
    case .deleteKey, .deleteKeys: .delete
    }
  }

  /// Its parameters.
  var parameters: [QueryParameter] {
    let range: [QueryParameter] = [.prefix, .from, .to]
    let watch: [QueryParameter] = [.watch, .since, .heartbeat]
    let wait: [QueryParameter] = [.wait, .since]
    let selection: [QueryParameter] = [
      .revision, .serializable, .keysOnly, .minModRevision, .maxModRevision, .minCreateRevision, .maxCreateRevision,
    ]
    return switch self {
    case .getKey: [.revision, .serializable]
    case .putValue: [.lease, .ttl, .prev]
    case .putKey, .deleteKey: []
    case .importKeys: [.skipErrors]
    case .watchKey: watch
    case .awaitKey: wait
    case .listKeys: range + [.limit, .cursor, .countOnly, .sort, .order] + selection
    case .exportKeys: range + selection
    case .watchKeys: range + watch
    case .awaitKeys: range + wait
    case .deleteKeys: range + [.all]
    }
  }

  /// The media types of its successful answers, the default first.
  var mediaTypes: [MediaType] {
    switch self {
    case .getKey: [.bytes, .text, .json]
    case .putValue, .putKey, .deleteKey, .awaitKey, .listKeys, .awaitKeys, .deleteKeys: [.json]
    case .watchKey, .watchKeys: [.lines, .events]
    case .exportKeys, .importKeys: [.lines]
    }
  }

  /// Whether a request with this kind of path and this method may mean it.
  func isMeant(byOneKey isOfOneKey: Bool, _ method: HTTPMethod) -> Bool {
    self.isOfOneKey == isOfOneKey && self.method == (method == .head ? .get : method)
  }
}
