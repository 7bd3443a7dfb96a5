package import SwiftProtobuf

extension Message {
  /// The message in protobuf's wire format.
  ///
  /// etcd's messages are proto3 and have no field of type `Any`: only their size can make encoding fail (Protocol
  /// Buffers documentation, "Encoding", "Size limit").
  ///
  /// - Throws: ``GRPCStatus`` if the message takes 2 GiB or more. An empty message is never sent in its place: etcd
  ///   might well accept that.
  package func encoded() throws(GRPCStatus) -> [UInt8] {
    do {
      return try serializedBytes()
    } catch {
      throw GRPCStatus(.internal, "the request cannot be encoded: a protobuf message has less than 2 GiB")
    }
  }

  /// The same for a message of numbers and words of this program's own. It takes less than a hundred bytes, so that
  /// encoding cannot fail.
  package func encodedSmall() -> [UInt8] {
    do {
      return try encoded()
    } catch {
      preconditionFailure("\(Self.protoMessageName): \(error.message)")
    }
  }
}
