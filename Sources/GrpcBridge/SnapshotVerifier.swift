/// Checks that a snapshot is whole, as it comes: by its length, and by the SHA-256 at its end.
///
/// The last 32 bytes are held back until they have proved right, so that a broken file is not taken for a whole one.
package struct SnapshotVerifier: ~Copyable {
  private var digest = SnapshotDigest()
  /// The last bytes that have come, which may be the digest; all before them were passed on.
  private var tail: [UInt8] = []
  private var receivedCount: UInt64 = 0
  /// The size of the file in bytes; nil before the first piece.
  package private(set) var length: UInt64?

  package init() {}

  /// Takes the next piece from etcd.
  ///
  /// - Parameters:
  ///   - rest: how much comes after this piece, by etcd's count; used with the first piece only.
  ///   - pass: called with the bytes that may be passed on, in pieces.
  /// - Throws: ``GRPCStatus`` with ``GRPCCode/dataLoss`` if more comes than was announced.
  package mutating func take(
    _ bytes: UnsafeRawBufferPointer, announcing rest: UInt64, pass: (UnsafeRawBufferPointer) -> Void
  ) throws(GRPCStatus) {
    let length = self.length ?? Self.fileSize(first: bytes.count, rest: rest)
    self.length = length
    receivedCount += UInt64(bytes.count)
    guard receivedCount <= length else {
      throw Self.failure("etcd has announced \(length) bytes and sent more")
    }
    let surplus = max(0, tail.count + bytes.count - SnapshotDigest.size)
    let fromTail = min(surplus, tail.count)
    tail[..<fromTail].withUnsafeBytes {
      digest.update($0)
      pass($0)
    }
    tail.removeFirst(fromTail)
    let whole = UnsafeRawBufferPointer(rebasing: bytes[..<(surplus - fromTail)])
    digest.update(whole)
    pass(whole)
    tail += bytes[(surplus - fromTail)...]
  }

  /// Ends the file.
  ///
  /// - Returns: its last bytes.
  /// - Throws: ``GRPCStatus`` with ``GRPCCode/dataLoss`` if it is not whole.
  package mutating func finish() throws(GRPCStatus) -> [UInt8] {
    guard let length else { throw Self.failure("etcd has sent an empty snapshot") }
    guard receivedCount == length else {
      throw Self.failure("etcd has announced \(length) bytes and sent \(receivedCount)")
    }
    guard tail == digest.finish() else { throw Self.failure("its SHA-256 is wrong") }
    return tail
  }

  /// The size of the whole file. `rest` is how much comes after the first message, by etcd's count, which does not
  /// include the digest. The database is a whole number of pages, so that a count with the digest is noticed.
  static func fileSize(first: Int, rest: UInt64) -> UInt64 {
    let size = UInt64(first) &+ rest
    return size % 512 == UInt64(SnapshotDigest.size) ? size : size &+ UInt64(SnapshotDigest.size)
  }

  private static func failure(_ reason: String) -> GRPCStatus {
    GRPCStatus(.dataLoss, "the snapshot is broken: \(reason)")
  }
}
