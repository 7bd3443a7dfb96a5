package import ByteBuffers
import Glibc

/// A body that several answers share: in memory, and counted, once, until the last of them has ended. Belongs to its
/// shard's loop.
package final class SharedBody {
  // Invariant: memory from `malloc` that only this object frees; it never changes.
  let bytes: UnsafeRawBufferPointer
  private var kept: KeptBytes

  /// Nil if there is no room for it (`--max-memory`).
  package init?(_ body: consuming ByteBuffer, in memory: MemoryAccount) {
    var kept = KeptBytes(memory)
    guard kept.grow(by: body.count) else { return nil }
    self.kept = kept
    bytes = UnsafeRawBufferPointer(body.release())
  }

  deinit { free(UnsafeMutableRawPointer(mutating: bytes.baseAddress)) }
}
