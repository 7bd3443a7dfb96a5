// Compiled together with the sources of Transcoding; see scripts/fuzz.

/// A message type with everything: every kind of field, alone and repeated, a oneof, itself, a large number.
let node: Schema.Message = {
  var fields: [Schema.FieldDefinition] = []
  func add(_ name: String, _ jsonName: String, _ kind: FieldKind, isRepeated: Bool = false, oneof: Int? = nil) {
    let typeName = kind == .message ? "fuzz.Node" : kind == .enumeration ? "fuzz.Color" : ""
    let number = fields.count == 40 ? 1000 : fields.count + 1
    fields.append(
      .init(
        name: name, jsonName: jsonName, number: number, kind: kind, isRepeated: isRepeated, oneof: oneof,
        typeName: typeName))
  }
  for kind in FieldKind.allCases { add("one_\(kind)", "one\(kind)", kind) }
  for kind in FieldKind.allCases { add("some_\(kind)", "some\(kind)", kind, isRepeated: true) }
  for kind in [FieldKind.int64, .bytes, .string, .enumeration, .message, .bool] {
    add("or_\(kind)", "or\(kind)", kind, oneof: 0)
  }
  for name in ["a", "b", "c", "d", "far_away"] { add(name, name, .string) }
  let colors = Schema.EnumDefinition(name: "fuzz.Color", values: [("RED", 0), ("GREEN", 1), ("BLUE", -5)])
  var rules = Schema.Rules()
  rules.fields["fuzz.Node.a"] = .init(role: "one", excludes: "other", because: "a and b")
  rules.fields["fuzz.Node.b"] = .init(role: "other", excludes: "one", value: [0], because: "a and b")
  rules.fields["fuzz.Node.c"] = .init(isMemberURL: true, because: "not a URL")
  rules.requirements["fuzz.Node"] = [
    .init(field: "some_string", condition: ("one_enumeration", -5), because: "BLUE needs some_string")
  ]
  guard let schema = try? Schema(messages: [.init(name: "fuzz.Node", fields: fields)], enums: [colors], rules: rules),
    let node = schema.message("fuzz.Node")
  else { fatalError("the schema is broken") }
  return node
}()

/// The result of an input.
enum Outcome: Equatable {
  case accepted([UInt8])
  case refused(TranscodingError)

  var output: [UInt8]? {
    guard case .accepted(let bytes) = self else { return nil }
    return bytes
  }
}

func encode(_ json: UnsafeRawBufferPointer, strict: Bool) -> Outcome {
  var output = ByteBuffer()
  do {
    let taken = try JSONToProtobuf.encode(json, as: node, strict: strict, into: &output)
    require(taken <= json.count, "more was taken than there is")
    return .accepted(output.withUnsafeBytes { Array($0) })
  } catch {
    require(error.offset <= json.count, "a fault beyond the end")
    return .refused(error)
  }
}

/// Converts what `nextCount` cuts off the input, piece by piece, until it is used up.
func decode(_ wire: UnsafeRawBufferPointer, nextCount: () -> Int) -> Outcome {
  var output = ByteBuffer()
  var converter = ProtobufToJSON(node)
  var rest = wire[...]
  do {
    while !rest.isEmpty {
      // A copy, so that AddressSanitizer notices a read beyond the piece.
      let piece = Array(rest.prefix(nextCount()))
      rest = rest.dropFirst(piece.count)
      try piece.withUnsafeBytes { try converter.push($0, into: &output) }
    }
    try converter.finish(into: &output)
    return .accepted(output.withUnsafeBytes { Array($0) })
  } catch let error as TranscodingError {
    require(error.offset <= wire.count, "a fault beyond the end")
    return .refused(error)
  } catch {
    fatalError("another error: \(error)")
  }
}

func decode(_ wire: [UInt8]) -> Outcome {
  wire.withUnsafeBytes { bytes in decode(bytes) { wire.count } }
}

func encode(_ json: [UInt8], strict: Bool) -> Outcome {
  json.withUnsafeBytes { encode($0, strict: strict) }
}
