import ByteBuffers
import EtcdSchema
import GrpcBridge
import ProtobufWire
import Transcoding

/// The holder of a lock, or the leader: the key that was created first.
struct QueueHolder {
  let key: [UInt8]
  let value: [UInt8]
  let lease: Int64
  /// The revision at which the key was created; each later holder has a larger one.
  let revision: Int64

  /// The read for it; the answer is a `RangeResponse` with one key at most.
  static func request(_ queue: QueueName) -> Etcdserverpb_RangeRequest {
    .with {
      $0.key = .init(queue.range.start.array)
      $0.rangeEnd = .init(queue.range.end.array)
      $0.limit = 1
      $0.sortTarget = .create
      $0.sortOrder = .ascend
      $0.keysOnly = queue.kind == .lock
    }
  }

  init?(_ response: Etcdserverpb_RangeResponse) {
    guard let key = response.kvs.first else { return nil }
    (self.key, value) = (Array(key.key), Array(key.value))
    (lease, revision) = (key.lease, key.createRevision)
  }

  init(key: [UInt8], value: [UInt8], lease: Int64, revision: Int64) {
    (self.key, self.value, self.lease, self.revision) = (key, value, lease, revision)
  }

  /// Whether the key is that of this lease.
  func isOf(_ lease: Int64, in queue: QueueName) -> Bool { self.lease == lease && key == queue.key(of: lease) }

  /// The holder in an answer.
  ///
  /// - Parameters:
  ///   - ttl: the time to live of its lease, in seconds, if that is known.
  ///   - isNews: whether it is a line of a stream, which has other lines, too.
  func json(in queue: QueueName, ttl: Int64? = nil, isNews: Bool = false) -> ByteBuffer {
    var json = ByteBuffer(capacity: 128 + queue.bytes.count + key.count + value.count)
    json.append(isNews ? "{\"type\":\"leader\"," : "{")
    json.append(member: queue.bytes, "\"name\":", "\"name_base64\":")
    json.append(",")
    json.append(member: key, "\"key\":", "\"key_base64\":")
    json.append(",\"lease\":\"")
    json.append(decimal: lease)
    json.append("\"")
    if let ttl {
      json.append(",\"ttl\":")
      json.append(decimal: ttl)
    }
    json.append(",\"revision\":")
    json.append(decimal: revision)
    if queue.kind == .election {
      json.append(",")
      json.append(member: value, "\"value\":", "\"value_base64\":")
    }
    json.append("}")
    return json
  }
}
