import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire
import SwiftProtobuf

extension RPCRoute {
  /// The RPCs whose requests have a password, of a user that is the first field, as the second.
  static let withPassword: Set<String> = [
    EtcdRPC.authenticate.path, EtcdRPC.userAdd.path, EtcdRPC.userChangePassword.path,
  ]

  /// Refuses a password that is longer than etcd compares, when it is used and when it is set: 3.4 and 3.5.1 set it,
  /// and let in whatever begins like it; 3.5.30 answers with an internal error.
  ///
  /// - Parameter message: the request behind ``CallMessage/headroom``.
  func checkPassword(in message: borrowing ByteBuffer) throws(RequestError) {
    guard hasPassword else { return }
    let count = message.withUnsafeBytes { bytes in
      // What the requests have in common.
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
