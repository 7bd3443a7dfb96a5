package import ByteBuffers

/// Bytes that sockets send. They never change, so that the queues of many sockets refer to them.
///
/// Sendable because those that shards share are never counted: what is counted belongs to the loop of one shard.
package final class SocketBytes: @unchecked Sendable {
  package static let lastChunk = SocketBytes("0\r\n\r\n", isShared: true)

  /// What one of them takes besides its bytes, the places in queues included.
  private static let overhead = 128

  package let buffer: ByteBuffer
  /// Whether it is one for all shards.
  private let isShared: Bool
  private var isCounted = false
  private var kept: KeptBytes?

  package init(_ bytes: consuming ByteBuffer, isShared: Bool = false) {
    buffer = bytes
    self.isShared = isShared
  }

  package convenience init(_ text: String, isShared: Bool = false) {
    var buffer = ByteBuffer(capacity: text.utf8.count)
    buffer.append(text.utf8)
    self.init(buffer, isShared: isShared)
  }

  /// They live, where they are, as long as the object.
  package var bytes: UnsafeRawBufferPointer { buffer.withUnsafeBytes { $0 } }

  /// Counts them, once, as kept for clients for as long as any queue has them.
  package func count(in account: MemoryAccount) {
    guard !isShared, !isCounted else { return }
    isCounted = true
    var kept = KeptBytes(account)
    kept.force(buffer.count + Self.overhead)
    self.kept = consume kept
  }
}
