import HTTPServer
import ProtobufWire

/// etcd's answer to a `LeaseGrant`, or to a `LeaseKeepAlive`, which has the same fields (`etcdserverpb/lease.proto`).
struct LeaseGrant {
  private var events: ProtobufPushParser
  private(set) var revision: Int64 = 0
  private(set) var lease: Int64 = 0
  /// The granted time to live, in seconds.
  private(set) var ttl: Int64 = 0

  init(length: Int) { events = ProtobufPushParser(length: length, messages: [AnswerPath.header]) }

  mutating func take(_ bytes: UnsafeRawBufferPointer) {
    var input = bytes
    while let event = events.next(&input) {
      switch event {
      case .number(path: AnswerPath.revision, let number): revision = Int64(bitPattern: number)
      case .number(path: LeaseResponsePath.id, let number): lease = Int64(bitPattern: number)
      case .number(path: LeaseResponsePath.ttl, let number): ttl = Int64(bitPattern: number)
      default: break
      }
    }
  }

  /// - Throws: `WireError` if the answer is malformed.
  func finish() throws(WireError) { try events.finish() }
}
