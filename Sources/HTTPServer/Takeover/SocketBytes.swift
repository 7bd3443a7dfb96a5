package import ByteBuffers

/// Bytes that sockets send. They never change, so that the queues of many sockets can refer to them.
///
/// Sendable because those that shards share are never counted: bytes that are counted belong to the loop of one shard.
package final class SocketBytes: @unchecked Sendable {
  package static let lastChunk = SocketBytes("0\r\n\r\n", isShared: true)

  /// What an object takes besides its bytes, including its places in queues.
  private static let overhead = 128

  package let buffer: ByteBuffer
  /// Whether all shards share it.
  private let isShared: Bool
  private var isCounted = false
  private var kept: KeptBytes?

  package init(_ bytes: consuming ByteBuffer, isShared: Bool = false) {
    buffer = bytes
    self.isShared = isShared
  }

  convenience init(_ text: String, isShared: Bool = false) {
    var buffer = ByteBuffer(capacity: text.utf8.count)
    buffer.append(text.utf8)
    self.init(buffer, isShared: isShared)
  }

  /// The bytes, which stay where they are as long as the object lives.
  package var bytes: UnsafeRawBufferPointer { buffer.withUnsafeBytes { $0 } }

  /// Counts the bytes, once, as kept for clients as long as any queue has them.
  func count(in account: MemoryAccount) {
    guard !isShared, !isCounted else { return }
    isCounted = true
    var kept = KeptBytes(account)
    kept.force(buffer.count + Self.overhead)
    self.kept = consume kept
  }
}
