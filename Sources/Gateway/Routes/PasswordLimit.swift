import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire
import SwiftProtobuf

extension RPCRoute {
  /// The RPCs whose requests have a user name as the first field and a password as the second.
  static let withPassword: Set<String> = [
    EtcdRPC.authenticate.path, EtcdRPC.userAdd.path, EtcdRPC.userChangePassword.path,
  ]

  /// Refuses a password that is longer than what etcd compares, when it is used and when it is set: 3.4 and 3.5.1 set
  /// it, and accept every text with the same beginning; 3.5.30 answers with an internal error.
  ///
  /// - Parameter message: the request after ``CallMessage/headroom``.
  func checkPassword(in message: borrowing ByteBuffer) throws(RequestError) {
    guard hasPassword else { return }
    let count = message.withUnsafeBytes { bytes in
      // These fields are the same in all of these requests.
      let request = try? Etcdserverpb_AuthenticateRequest(serializedBytes: Array(bytes.dropFirst(CallMessage.headroom)))
      return request?.password.utf8.count ?? 0
    }
    if count > RequestCredentials.longestPassword { throw .passwordIsTooLong("password: it") }
  }
}

extension RequestError {
  /// - Parameter what: the subject of the sentence.
  static func passwordIsTooLong(_ what: String) -> RequestError {
    .badRequest("\(what) has more than \(RequestCredentials.longestPassword) bytes, the most that etcd compares")
  }
}
