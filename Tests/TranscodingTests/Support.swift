import ByteBuffers
import EtcdSchema
import ProtobufWire
import Testing

@testable import Transcoding

/// The API's own tables.
let etcd = Result { try Schema(EtcdSchema().descriptors) }

func message(_ name: String) throws -> Schema.Message {
  try #require(try etcd.get().message(name), "no such message: \(name)")
}

/// The wire format of a JSON text, and how many bytes of it were taken.
func encode(
  _ json: some Collection<UInt8>, as name: String, strict: Bool = false, sequence: Bool = false
) throws -> (wire: [UInt8], taken: Int) {
  var output = ByteBuffer()
  let message = try message(name)
  // Memory of exactly that size, so that AddressSanitizer notices a read beyond it.
  let input = UnsafeMutableRawBufferPointer.allocate(byteCount: json.count, alignment: 1)
  defer { input.deallocate() }
  input.copyBytes(from: json)
  let taken = try JSONToProtobuf.encode(
    UnsafeRawBufferPointer(input), as: message, strict: strict, sequence: sequence, into: &output)
  return (output.withUnsafeBytes { Array($0) }, taken)
}

func encode(_ json: String, as name: String, strict: Bool = false) throws -> [UInt8] {
  try encode(json.utf8, as: name, strict: strict).wire
}

/// The fault of a JSON text.
func fault(_ json: String, as name: String, strict: Bool = false) throws -> TranscodingError {
  try #require(throws: TranscodingError.self) { try encode(json, as: name, strict: strict) }
}

/// The JSON text of a message that arrives in the given pieces.
func decode(_ pieces: [some Collection<UInt8>], as name: String) throws -> String {
  var output = ByteBuffer()
  var converter = ProtobufToJSON(try message(name))
  for piece in pieces {
    let input = UnsafeMutableRawBufferPointer.allocate(byteCount: piece.count, alignment: 1)
    defer { input.deallocate() }
    input.copyBytes(from: piece)
    try converter.push(UnsafeRawBufferPointer(input), into: &output)
  }
  try converter.finish(into: &output)
  return output.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
}

func decode(_ wire: [UInt8], as name: String) throws -> String { try decode([wire], as: name) }

func fault(_ wire: [UInt8], as name: String) throws -> TranscodingError {
  try #require(throws: TranscodingError.self) { try decode(wire, as: name) }
}
