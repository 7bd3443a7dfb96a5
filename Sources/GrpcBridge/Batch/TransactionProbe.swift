internal import EtcdSchema
import EventLoop
import ProtobufWire

/// Whether transactions of reads may go over a connection, and how large they may be.
///
/// Some members die if such a transaction is cancelled while it reads: 3.5.0 to 3.5.4 (etcd #14110), and perhaps those
/// up to 3.5.6 and before 3.4.23 (etcd #14891). The end of the gateway or of the connection cancels it, too (measured:
/// 3.5.1 died, with transactions of 64 reads, when the second of two gateways was killed; 3.4.23 and 3.5.30 outlived
/// ten). So the member is asked for its version first, once for each connection on which reads could share a
/// transaction. `Status` needs no user before 3.5.28.
final class TransactionProbe: CallDelegate {
  private enum State {
    /// The member is not to be asked before then.
    case unknown(notBefore: UInt64)
    case asked
    case refused
    case allowed
  }

  private static let method = CallMethod(EtcdRPC.status.traits, isRepeatable: false, isReadOnly: true)
  private static let timeout = GRPCTimeout(milliseconds: 5000)
  /// How long, in milliseconds, until a member that has not given its version is asked again.
  private static let pause: UInt64 = 5000

  private unowned let connection: Connection
  private let loop: EventLoop
  private var state = State.unknown(notBefore: 0)
  private var call: Call?
  private var answer: [UInt8] = []
  /// How many operations a transaction may have, as far as the member has shown (`--max-txn-ops`).
  private var most = Int.max

  init(connection: Connection, loop: EventLoop) {
    self.connection = connection
    self.loop = loop
  }

  /// How many reads a transaction may have; less than 2 if there must be none. If that is not known the member is
  /// asked.
  func limit() -> Int {
    switch state {
    case .allowed: return most
    case .unknown(let start) where loop.now >= start:
      ask()
      return 0
    case .unknown, .asked, .refused: return 0
    }
  }

  /// The member has refused a transaction of so many operations.
  func refused(count: Int) { most = min(most, max(1, count / 2)) }

  private func ask() {
    let call = Call(Self.method, message: CallMessage(copying: []), timeout: Self.timeout, delegate: self)
    call.maxBytes = 1 << 16
    do {
      try connection.submit(call)
      self.call = call
      state = .asked
    } catch {
      // The connection takes no more streams, and ends soon.
      state = .refused
    }
  }

  // MARK: - From etcd

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { answer.append(contentsOf: bytes) }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    self.call = nil
    defer { answer = [] }
    switch (status.origin, status.message) {
    case (.server, _) where status.isOK:
      state = answer.withUnsafeBytes { Self.survivesCancellation($0) } ? .allowed : .refused
    // Only 3.5.28 and later require credentials for this.
    case (.server, EtcdMessage.userEmpty), (.server, EtcdMessage.permissionDenied): state = .allowed
    default: state = .unknown(notBefore: loop.now + Self.pause)
    }
  }

  /// Whether a `StatusResponse` comes from a member that survives the cancellation of a transaction of reads.
  static func survivesCancellation(_ response: UnsafeRawBufferPointer) -> Bool {
    var fields = ProtobufPullParser(response, in: 0..<response.count)
    while let field = try? fields.next() {
      guard field.number == Etcdserverpb_StatusResponse.Field.version else { continue }
      let version = String(decoding: response[field.content], as: UTF8.self)
      let numbers = version.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false).map {
        Int($0.prefix { $0.isASCII && $0.isNumber })
      }
      guard numbers.count == 3, let major = numbers[0], let minor = numbers[1], let patch = numbers[2] else {
        return false
      }
      switch (major, minor) {
      case (3, 4): return patch >= 23
      case (3, 5): return patch >= 7
      case (3, let minor): return minor > 5
      default: return major > 3
      }
    }
    return false
  }
}
