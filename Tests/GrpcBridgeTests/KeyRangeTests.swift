import GrpcBridge
import Testing

/// Ranges of keys, and bytes. `KeyValueTests` tests how etcd treats them.
@Suite struct KeyRangeTests {
  @Test(
    arguments: [
      ("a", "b"), ("app/", "app0"), ([0x61, 0xff], "b"), ([0x61, 0xff, 0xff], "b"), ([0xff], [0]), ([0xff, 0xff], [0]),
      ([0], [1]), ([0x61, 0xfe], [0x61, 0xff]),
    ] as [(Bytes, Bytes)])
  func aPrefixEndsBeforeTheNext(prefix: Bytes, end: Bytes) {
    #expect(KeyRange.prefix(prefix) == KeyRange(start: prefix, end: end))
  }

  /// Byte by byte a large value would take a hundred times as long.
  @Test func bytesAreCopiedAsAWhole() {
    var bytes: Bytes = [1, 2, 3]
    #expect(bytes.withContiguousStorageIfAvailable { Array($0) } == [1, 2, 3])
    #expect(bytes.withContiguousMutableStorageIfAvailable { $0[1] = 9 } != nil)
    #expect(bytes == [1, 9, 3])
  }

  @Test func theEmptyPrefixIsEverything() {
    #expect(KeyRange.prefix("") == .all)
    #expect(KeyRange.from("") == .all)
    #expect(KeyRange.all == KeyRange(start: [0], end: [0]))
    #expect(KeyRange.key("a") == KeyRange(start: "a", end: ""))
    #expect(KeyRange.from("a") == KeyRange(start: "a", end: [0]))
    #expect(KeyRange.from("a", upTo: "b") == KeyRange(start: "a", end: "b"))
  }

  /// An end that is not after the start must not become one that etcd takes for "no end" or "one key".
  @Test(
    arguments: [("b", "a"), ("a", "a"), ("", ""), ("", [0]), ([0], [0]), ("a", ""), ("a", [0])] as [(Bytes, Bytes)])
  func noKeysAreNoKeys(start: Bytes, end: Bytes) {
    let range = KeyRange.from(start, upTo: end)
    for key in ["", [0], "a", "b", [0xff]] as [Bytes] { #expect(!range.contains(key)) }
    #expect(range.start == range.end && range.start > [0])
  }

  @Test func bytesAreTextAndText() {
    let name = "Ånn"
    #expect(Bytes(name).array == Array(name.utf8))
    #expect("user/\(name)/\(7)" as Bytes == Bytes("user/Ånn/7"))
    #expect(Bytes([0xff, 0x61]).string == nil)
    #expect(Bytes([0xff, 0x61]).description == "\u{fffd}a")
    #expect(("ab" as Bytes).string == "ab")
    #expect(([0x61] as Bytes) < "ab" && ("b" as Bytes) < [0xff])
    #expect(Set<Bytes>(["a", [0x61]]).count == 1)
  }
}
