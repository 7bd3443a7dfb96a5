extension UnsafeMutableRawPointer {
  /// Lends `body` the object that a C library has as the context of its callbacks. The object must outlive `body`, as
  /// it is not retained: that would cost two atomic operations, in callbacks of which a request has some twenty.
  @inlinable @inline(__always)
  package func withObject<Object: AnyObject, Result>(
    _ type: Object.Type = Object.self, _ body: (Object) -> Result
  ) -> Result {
    Unmanaged<Object>.fromOpaque(self)._withUnsafeGuaranteedRef(body)
  }
}
