// The declarations that the parsers of scripts/fuzz's `wire` use from the rest of the program, which is not compiled
// with them.

final class MemoryAccount {
  static let shortage: StaticString = ""
}

struct KeptBytes: ~Copyable {
  init(_ account: MemoryAccount) {}
  mutating func set(to count: Int) -> Bool { true }
  mutating func release() {}
}

enum EtcdMessage {
  static let permissionDenied = "etcdserver: permission denied"
}
