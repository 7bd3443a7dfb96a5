/// Any bytes as a header of the PROXY protocol. A complete header stays the same whatever follows it, every part of it
/// is incomplete, and a malformed one does not become valid by more bytes.
func checkProxy(_ input: UnsafeRawBufferPointer) {
  let count = input.count
  let whole = ProxyGreeting(input)
  switch whole {
  case .complete(_, let length):
    require(length > 0 && length <= min(count, ProxyGreeting.longest), "a length of \(length)")
    for end in [length, length - 1, length / 2] {
      let part = ProxyGreeting(UnsafeRawBufferPointer(rebasing: input[..<end]))
      require(part == (end == length ? whole : .incomplete), "\(end) of \(length): \(part)")
    }
  case .incomplete:
    require(count < ProxyGreeting.longest, "\(count) bytes are not enough")
    if count > 0 {
      let part = ProxyGreeting(UnsafeRawBufferPointer(rebasing: input[..<(count - 1)]))
      require(part == .incomplete, "less is more: \(part)")
    }
  case .malformed:
    let more = Array(input) + [0x0D, 0x0A]
    require(more.withUnsafeBytes { ProxyGreeting($0) } == .malformed, "mended by what follows")
  }
}
