internal import Glibc

/// A growable buffer of bytes that owns its memory alone.
///
/// The transcoders write to it: room is made once for a whole value, which is then written through a pointer. The
/// memory comes from `malloc`, so that `release()` can pass it to C code that frees it. Running out of memory traps.
@usableFromInline package struct ByteBuffer: ~Copyable, @unchecked Sendable {
  // Invariant (and why it is Sendable): `base` is null or memory of `capacity` bytes that only this value refers to;
  // the first `used` bytes are initialised and `used <= capacity`.
  @usableFromInline var base: UnsafeMutablePointer<UInt8>?
  @usableFromInline var capacity: Int
  @usableFromInline var used: Int

  /// Creates an empty buffer with room for `capacity` bytes; 0 allocates nothing.
  package init(capacity: Int = 0) {
    base = nil
    self.capacity = 0
    used = 0
    if capacity > 0 { grow(to: capacity) }
  }

  deinit { free(base) }

  @inlinable @inline(__always)
  package var count: Int { used }

  @inlinable @inline(__always)
  package var isEmpty: Bool { used == 0 }

  /// Appends one byte.
  @inlinable @inline(__always)
  package mutating func append(_ byte: UInt8) {
    reserve(1).pointee = byte
    used += 1
  }

  /// Appends a copy of `bytes`, which must not lie within this buffer.
  @inlinable
  package mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress, bytes.count > 0 else { return }
    UnsafeMutableRawPointer(reserve(bytes.count)).copyMemory(from: source, byteCount: bytes.count)
    used += bytes.count
  }

  /// Appends a copy of `bytes`.
  @inlinable
  package mutating func append(_ bytes: some Collection<UInt8>) {
    let tail = UnsafeMutableBufferPointer(start: reserve(bytes.count), count: bytes.count)
    used += tail.update(fromContentsOf: bytes)
  }

  /// Appends the UTF-8 bytes of `text`.
  @inlinable
  package mutating func append(_ text: StaticString) {
    append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// Appends `zeros` zero bytes, such as room for a header that is filled in later.
  package mutating func appendZeros(_ zeros: Int) {
    memset(reserve(zeros), 0, zeros)
    used += zeros
  }

  /// Drops everything after the first `count` bytes.
  package mutating func truncate(to count: Int) {
    precondition(count >= 0 && count <= used)
    used = count
  }

  /// Drops everything, and the memory too unless it is to be kept for reuse.
  package mutating func removeAll(keepingCapacity: Bool = false) {
    used = 0
    guard !keepingCapacity else { return }
    free(base)
    base = nil
    capacity = 0
  }

  /// Takes the contents out, with their memory, and leaves an empty buffer.
  package mutating func takeAll() -> ByteBuffer {
    var taken = ByteBuffer()
    swap(&taken, &self)
    return taken
  }

  /// Makes sure that `additional` more bytes fit without growing.
  package mutating func reserveCapacity(_ additional: Int) {
    _ = reserve(additional)
  }

  @inlinable
  package func withUnsafeBytes<R: ~Copyable, E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try body(UnsafeRawBufferPointer(start: base, count: used))
  }

  @inlinable
  package mutating func withUnsafeMutableBytes<R: ~Copyable, E: Error>(
    _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try body(UnsafeMutableRawBufferPointer(start: base, count: used))
  }

  /// Gives the memory away: the caller frees the base address with `free`. It is null if nothing was ever written.
  package consuming func release() -> UnsafeMutableRawBufferPointer {
    let bytes = UnsafeMutableRawBufferPointer(start: base, count: used)
    discard self
    return bytes
  }
}

// For the transcoders, which write through a pointer.
extension ByteBuffer {
  /// Makes room for `additional` bytes and returns where to write them before `commit`. The pointer is valid until the
  /// next call that may grow the buffer.
  @inlinable @inline(__always)
  package mutating func reserve(_ additional: Int) -> UnsafeMutablePointer<UInt8> {
    if capacity &- used < additional || base == nil { grow(to: used + additional) }
    return base.unsafelyUnwrapped + used
  }

  /// Adds `additional` bytes that were written at the place from `reserve` to the contents.
  @inlinable @inline(__always)
  package mutating func commit(_ additional: Int) {
    used &+= additional
  }

  /// The address of the byte at `offset`; valid until the next call that may grow the buffer.
  @inlinable @inline(__always)
  package func pointer(at offset: Int) -> UnsafeMutablePointer<UInt8> {
    base.unsafelyUnwrapped + offset
  }

  @usableFromInline @inline(never)
  mutating func grow(to needed: Int) {
    // Doubling keeps the copying linear; `realloc` often extends large blocks in place or remaps them.
    let size = max(needed, capacity * 2, 64)
    guard let memory = realloc(base, size) else { fatalError("out of memory: \(size) bytes") }
    base = memory.assumingMemoryBound(to: UInt8.self)
    capacity = size
  }
}
