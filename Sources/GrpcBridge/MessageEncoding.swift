package import SwiftProtobuf

extension Message {
  /// The message in protobuf's wire format.
  ///
  /// Etcd's messages are of proto3 and have no field of type `Any`: the size is all that can be wrong with one
  /// (Protocol Buffers documentation, "Encoding", "Size limit").
  ///
  /// - Throws: ``GRPCStatus`` if it takes 2 GiB or more: never is an empty message sent in its place, which etcd may
  ///   well say yes to.
  package func encoded() throws(GRPCStatus) -> [UInt8] {
    do {
      return try serializedBytes()
    } catch {
      throw GRPCStatus(.internal, "the request cannot be encoded: a protobuf message has less than 2 GiB")
    }
  }

  /// The same of a message that holds nothing but numbers and words of this program's own. It takes less than a hundred
  /// bytes, so that nothing can be wrong with it.
  package func encodedSmall() -> [UInt8] {
    do {
      return try encoded()
    } catch {
      preconditionFailure("\(Self.protoMessageName): \(error.message)")
    }
  }
}
