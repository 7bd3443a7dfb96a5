/// Any bytes as a protobuf message. Nothing crashes; the output is bounded; how the bytes arrive makes no difference;
/// and an accepted message becomes JSON that this project's encoder reads, and that stands for the same message.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzResponse(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = UnsafeRawBufferPointer(start: start, count: count)
  let whole = decode(input) { count }
  require(decode(input) { 1 } == whole, "byte by byte it is different")
  var state = input.reduce(14_695_981_039_346_656_037 as UInt64) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
  let pieces = decode(input) {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return 1 + Int(state >> 33) % (state & 1 << 32 == 0 ? 4 : 40)
  }
  require(pieces == whole, "in pieces it is different: \(pieces), \(whole)")
  guard let json = whole.output else { return 0 }
  // The longest case: a number, after its name, of two bytes.
  require(json.count <= 2 + 40 * count, "the output is too long: \(json.count)")

  switch encode(json, strict: true) {
  case .accepted(let wire):
    // Not the same document: invalid UTF-8 has become U+FFFD and is now written as that.
    guard let again = decode(wire).output else { fatalError("what was written cannot be read: \(decode(wire))") }
    require(encode(again, strict: true) == .accepted(wire), "another message: \(encode(again, strict: true))")
  // Messages that nest 64 deep make arrays and objects that nest deeper. The encoder does not accept all that others
  // may send.
  case .refused(let error):
    require(
      [.tooDeep, .unknownEnumNumber, .refused].contains(error.reason), "what was written cannot be read: \(error)")
  }
  return 0
}
