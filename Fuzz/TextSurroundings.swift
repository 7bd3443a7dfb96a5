// The declarations that the parsers of scripts/fuzz's `texts` use from the rest of the program, which is not compiled
// with them.

struct HTTPResponse {
  typealias Headers = [(name: StaticString, value: String)]
}

struct RequestHead {
  var path: HeadBytes
  var method = HTTPMethod.get
  var accepted: MediaType?
  var hasLines = false
  var ifMatch: [HeadBytes] = []
  var ifNoneMatch: [HeadBytes] = []
}

struct Exchange {
  let head: RequestHead
  let queryItems: [(name: HeadBytes, value: HeadBytes?)]
}

final class MemoryAccount {
  static let uncounted = 32 << 10
  static let shortage: StaticString = ""
}

struct KeptBytes: ~Copyable {
  init(_ account: MemoryAccount) {}

  func hasRoom(for more: Int) -> Bool { true }
  mutating func set(to count: Int) -> Bool { true }
  mutating func release() {}
}

func keyCallMessage(capacity: Int = 64) -> ByteBuffer { ByteBuffer(capacity: capacity) }

/// As in etcd's API.
extension Etcdserverpb_Compare {
  enum CompareTarget: Int {
    case version
    case create
    case mod
    case value
    case lease
  }
}
