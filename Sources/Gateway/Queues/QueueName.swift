import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// A lock or an election, by its name: a queue of keys (``QueueKey``).
struct QueueName {
  enum Kind: CaseIterable {
    case lock
    case election
  }

  let kind: Kind
  let bytes: [UInt8]

  /// - Parameter path: the path of a lock or an election.
  /// - Throws: ``RequestError`` if there is no name, or one to which no key can belong.
  init(_ path: UnsafeBufferPointer<UInt8>) throws(RequestError) {
    guard let (kind, name) = QueuePath.parts(of: path) else { throw .nothing(at: path) }
    let word = kind == .lock ? "lock" : "election"
    guard let bytes = PercentEncoding.decode(UnsafeBufferPointer(rebasing: name)) else {
      throw .badRequest("the name of the \(word): '%' must be followed by two hexadecimal digits")
    }
    guard let last = bytes.last else { throw .badRequest("the name of the \(word) is empty") }
    guard last != UInt8(ascii: "/") else {
      throw .badRequest("the name of the \(word) must not end with '/'")
    }
    (self.kind, self.bytes) = (kind, bytes)
  }

  /// All keys of the queue.
  var range: KeyRange { QueueKey.range(of: bytes) }

  /// The key of a lease in the queue.
  func key(of lease: Int64) -> [UInt8] { QueueKey.key(of: lease, in: bytes) }

  /// The error's text for a lease that is not the holder's.
  func isNotHeld(by lease: Int64) -> String {
    kind == .lock ? "the lease \(lease) does not hold the lock" : "the lease \(lease) does not lead"
  }

  /// The error's text if no client holds the lock, or leads.
  var isFree: String { kind == .lock ? "no client holds the lock" : "no client leads" }
}

extension ByteBuffer {
  /// Appends a member with bytes: as text if they are UTF-8, otherwise in base64 under the other name.
  mutating func append(member bytes: [UInt8], _ name: StaticString, _ nameOfBase64: StaticString) {
    var buffer = ByteBuffer(capacity: bytes.count)
    buffer.append(bytes)
    KeyValueFields.append(buffer, name, nameOfBase64, to: &self)
  }
}
