/// Any bytes as JSON. Nothing crashes; the output is bounded; strict handling accepts no more than lenient; and
/// accepted JSON becomes a message that this project's decoder reads and that is the same after it is written and read
/// once more.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRequest(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = UnsafeRawBufferPointer(start: start, count: count)
  let lenient = encode(input, strict: false)
  let strict = encode(input, strict: true)
  if let output = strict.output { require(lenient.output == output, "strict and lenient differ") }
  guard let wire = lenient.output else { return 0 }
  require(wire.count <= 4 * count, "the output is too long: \(wire.count)")

  guard let json = decode(wire).output else { fatalError("what was written cannot be read: \(decode(wire))") }
  let again = encode(json, strict: true)
  require(again == .accepted(wire), "another message: \(again)")
  return 0
}
