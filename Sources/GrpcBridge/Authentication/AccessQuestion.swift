internal import EtcdSchema
internal import SwiftProtobuf

/// Finds out whether etcd knows a caller, and whether the caller may read a range, at no cost: by a read at a revision
/// that will never exist, from the member's own data. Every etcd since 3.0 checks credentials and permissions first; a
/// client with valid ones gets the error that the revision is a future one.
package enum AccessQuestion {
  private static let method = EtcdRPC.range.method
  /// How long the answer may take, unless another time limit says so.
  package static let timeout = GRPCTimeout(milliseconds: 5000)

  /// Makes the call for a key that any user may request.
  ///
  /// - Parameter delegate: not kept alive by the call; notified of its end. Pass the status to ``isYes(_:)``.
  package static func call(timeout: GRPCTimeout?, delegate: any CallDelegate) -> Call {
    let request = request(about: WatchRange(key: [0], end: []))
    return call(request.encodedSmall(), timeout: timeout, delegate: delegate)
  }

  /// - Throws: ``GRPCStatus`` if the request cannot be encoded.
  static func call(
    about range: WatchRange, timeout: GRPCTimeout?, delegate: any CallDelegate
  ) throws(GRPCStatus) -> Call {
    call(try request(about: range).encoded(), timeout: timeout, delegate: delegate)
  }

  private static func call(_ request: [UInt8], timeout: GRPCTimeout?, delegate: any CallDelegate) -> Call {
    Call(method, message: CallMessage(copying: request), timeout: timeout, delegate: delegate)
  }

  private static func request(about range: WatchRange) -> Etcdserverpb_RangeRequest {
    .with {
      $0.key = .init(range.key.isEmpty ? [0] : range.key)
      $0.rangeEnd = .init(range.end)
      $0.revision = .max
      $0.limit = 1
      $0.serializable = true
    }
  }

  /// Whether etcd knows the caller, and the caller may read the range.
  package static func isYes(_ status: GRPCStatus) -> Bool {
    status.isOK || status.code == .outOfRange && status.origin == .server
  }

  /// Whether etcd checks credentials, and has refused the caller: an unknown one, or a user who may not read the range.
  package static func isNo(_ status: GRPCStatus) -> Bool {
    guard status.origin == .server else { return false }
    switch status.code {
    case .invalidArgument, .permissionDenied, .unauthenticated: return true
    default: return false
    }
  }

  /// Whether etcd knows the caller, who may be a user without any permission.
  package static func isOfKnownCaller(_ status: GRPCStatus) -> Bool {
    isYes(status) || status.code == .permissionDenied && status.origin == .server
  }
}
