import ByteBuffers
import FoundationEssentials
import ProtobufWire
import Transcoding

/// A member's answer to `GET /version`.
struct MemberVersions: Sendable, Equatable {
  /// The member's own version.
  let server: String
  /// The cluster's version, which all members agree on.
  let cluster: String
  /// The database's version (since 3.6).
  let storage: String?

  /// Derives the versions from the member's own alone, as in `Status`: the cluster's is then that of a cluster whose
  /// members all have the same minor version.
  ///
  /// - Returns: nil if the text is no version.
  init?(server: String) {
    guard Self.isVersion(server) else { return nil }
    self.server = server
    cluster = server.split(separator: ".").prefix(2).joined(separator: ".") + ".0"
    storage = nil
  }

  /// Reads the body of an answer; nil if etcd would not answer so.
  init?(json: [UInt8]) {
    struct Answer: Decodable {
      let etcdserver: String
      let etcdcluster: String
      let storage: String?
    }
    guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(json)),
      [answer.etcdserver, answer.etcdcluster, answer.storage ?? "0"].allSatisfy(Self.isVersion)
    else { return nil }
    (server, cluster, storage) = (answer.etcdserver, answer.etcdcluster, answer.storage)
  }

  /// Whether the text is a version, `not_decided`, or what else etcd may say: a short word without characters that are
  /// special elsewhere.
  private static func isVersion(_ text: String) -> Bool {
    (1...64).contains(text.utf8.count)
      && text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
          UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "+"),
          UInt8(ascii: "_"):
          true
        default: false
        }
      }
  }

  /// Whether the members have agreed on the cluster's version.
  var isDecided: Bool { cluster != "not_decided" }

  /// The same answer for the gateway's client, with the gateway's own version.
  func json() -> ByteBuffer {
    var json = ByteBuffer()
    json.append("{\"etcdserver\":")
    json.appendJSONString(server)
    json.append(",\"etcdcluster\":")
    json.appendJSONString(cluster)
    if let storage {
      json.append(",\"storage\":")
      json.appendJSONString(storage)
    }
    json.append(",\"gateway\":")
    json.appendJSONString(EtcdRest.version)
    json.append("}")
    return json
  }
}
