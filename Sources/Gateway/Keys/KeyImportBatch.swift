import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire

/// Lines of an import that go to etcd as one transaction of puts. If etcd refuses the batch, it is halved, in the order
/// of the lines, until one line is left.
final class KeyImportBatch {
  /// A line that is to be put.
  struct Put {
    let place: BodyLines.Place
    /// The end of its operation in the message.
    fileprivate let end: Int
  }

  /// The intended size of a message, in bytes; a larger line has a message of its own.
  static let maxBytes = 512 << 10

  let number: Int
  private unowned let owner: KeyImportHandler
  private(set) var puts: ContiguousArray<Put> = []
  /// Hashes of their keys.
  private(set) var keys: ContiguousArray<Int> = []
  /// The earlier batches that put one of its keys, too, and must end before it begins.
  private var predecessors: Set<Int> = []
  private var message: ByteBuffer
  /// The call with the whole message, once the batch is complete.
  private var whole: Call?

  // The call under way, and the parts that follow it.
  private var call: Call?
  private var part = 0..<0
  private var left: [Range<Int>] = []
  private var answer: KeyChange

  init(_ number: Int, owner: KeyImportHandler) {
    self.number = number
    self.owner = owner
    message = keyCallMessage(capacity: 0)
    answer = KeyChange(length: 0, isTransaction: true, owner.shard.memory)
  }

  var isEmpty: Bool { puts.isEmpty }

  /// The size of the message, in bytes.
  private(set) var byteCount = 0

  // MARK: - Before the call

  /// - Parameters:
  ///   - key: the hash of the put's key, which no other put of the batch has.
  ///   - predecessor: a batch under way that puts the same key.
  func append(
    _ put: KeyPut, _ value: UnsafeRawBufferPointer, at place: BodyLines.Place, key: Int, behind predecessor: Int?
  ) {
    let count = put.wireCount(of: value)
    message.append(field: Etcdserverpb_TxnRequest.Field.success, ofCount: ByteBuffer.wireCount(ofField: count))
    message.append(field: Etcdserverpb_RequestOp.Field.requestPut, ofCount: count)
    put.write(value, to: &message)
    byteCount = message.count - CallMessage.headroom
    puts.append(Put(place: place, end: byteCount))
    keys.append(key)
    if let predecessor { predecessors.insert(predecessor) }
  }

  /// Whether it has to wait for `other` to end.
  func follows(_ other: KeyImportBatch) -> Bool { predecessors.contains(other.number) }

  // MARK: - At etcd

  func start() {
    part = puts.indices
    let call = owner.call(CallMessage(takingOwnershipOf: message.takeAll().release()), delegate: self)
    whole = call
    start(call)
  }

  private func start(_ call: Call) {
    self.call = call
    owner.start(call)
  }

  func cancel() {
    if let call { owner.shard.bridge.cancel(call) }
    call = nil
  }

  /// Sends the next part, if it still has to be put.
  private func goOn() {
    guard let next = left.popLast(), owner.wants(puts[next.lowerBound].place), let whole else {
      return owner.ended(self)
    }
    part = next
    let bytes = (next.lowerBound == 0 ? 0 : puts[next.lowerBound - 1].end)..<puts[next.upperBound - 1].end
    var message = keyCallMessage(capacity: bytes.count)
    whole.withMessage { message.append(UnsafeRawBufferPointer(rebasing: $0[bytes])) }
    start(owner.call(CallMessage(takingOwnershipOf: message.release()), delegate: self))
  }

  private func takeApart() {
    let middle = part.lowerBound + part.count / 2
    left.append(middle..<part.upperBound)
    left.append(part.lowerBound..<middle)
  }
}

extension KeyImportBatch: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    answer = KeyChange(length: length, isTransaction: true, owner.shard.memory)
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { answer.take(bytes) }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    self.call = nil
    var status = status
    if status.isOK {
      do throws(WireError) {
        try answer.finish()
        guard answer.hasSucceeded, answer.revision > 0 else { throw .unexpectedFields }
      } catch {
        status = owner.shard.misunderstood(error, for: owner.exchange.id.text)
      }
    }
    if status.isOK {
      owner.put(puts[part], at: answer.revision, wasRepeated: call.mayHaveBeenExecutedBefore)
    } else if part.count > 1 && status.isAboutRequest {
      owner.tookTooMuch(part.count, for: status)
      takeApart()
    } else {
      owner.refused(puts[part], for: status)
    }
    goOn()
  }
}

extension GRPCStatus {
  /// Whether etcd has refused the request's content, and might accept a part of it.
  var isAboutRequest: Bool {
    guard origin == .server, !asksForNewToken else { return false }
    return switch code {
    case .permissionDenied, .notFound, .invalidArgument, .outOfRange, .failedPrecondition: true
    // gRPC at etcd has a limit, too. etcd's own error with this code is about the database's size.
    case .resourceExhausted: message.hasPrefix("grpc: ")
    default: false
    }
  }
}
