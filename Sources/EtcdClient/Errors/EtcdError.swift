public import GrpcBridge

/// Why a call of an ``EtcdClient`` has failed. A task's cancellation is no such error, but Swift's `CancellationError`.
///
/// Distinguish errors by their ``code``, never by their text:
///
/// ```swift
/// catch let error as EtcdError where error.code == .emptyKey { … }
/// ```
public struct EtcdError: Error, Sendable, Hashable {
  /// The error: one of etcd's errors if it has a name, else the gRPC code.
  public var code: Code
  /// The gRPC code. If etcd sends an error that it has a code for as *Unknown*, the one it has.
  public var grpcCode: GRPCCode
  /// What etcd says, or this client.
  public var message: String
  /// The name in etcd's Go packages, such as `ErrGRPCEmptyKey`; nil if it has none.
  public var name: String?
  /// The member that the call was last sent to, such as `http://127.0.0.1:2379`; nil if it was sent to none, and for
  /// watches and keepalives, which may go through several.
  public var endpoint: String?
  /// Of ``Code/compacted``, if a watch ends with it: the first revision that can still be watched.
  public var compactRevision: Int64?

  init(_ code: Code, _ grpcCode: GRPCCode, _ message: String) {
    self.code = code
    self.grpcCode = grpcCode
    self.message = message
  }

  /// The kind of an error: any number of them, of which those known by now have names here.
  public struct Code: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    /// The name it has here, such as `emptyKey`.
    public let rawValue: String

    public init(rawValue: String) { self.rawValue = rawValue }

    public var description: String { rawValue }
  }
}

extension EtcdError: CustomStringConvertible {
  /// One line: code, message, and the member.
  public var description: String { "\(code): \(message)" + (endpoint.map { " (\($0))" } ?? "") }
}

/// The kinds that are not of etcd's own making: gRPC's codes (gRPC documentation, "Status codes and their use in gRPC")
/// and one of this client. ``canceled``, ``deadlineExceeded`` and ``permissionDenied`` are among etcd's.
extension EtcdError.Code {
  /// The client was closed, before the call or while it was under way. A write may have been applied.
  public static var clientClosed: Self { Self(rawValue: "clientClosed") }

  /// gRPC's *Unknown*: an error of etcd's without a code or a name.
  public static var unknown: Self { Self(.unknown) }

  /// gRPC's *InvalidArgument*; also a configuration or an argument that this client refuses.
  public static var invalidArgument: Self { Self(.invalidArgument) }

  /// gRPC's *NotFound*.
  public static var notFound: Self { Self(.notFound) }

  /// gRPC's *AlreadyExists*.
  public static var alreadyExists: Self { Self(.alreadyExists) }

  /// gRPC's *ResourceExhausted*; also a message beyond the limits of ``EtcdClient/Configuration``, and a login that is
  /// held back after others have failed.
  public static var resourceExhausted: Self { Self(.resourceExhausted) }

  /// gRPC's *FailedPrecondition*.
  public static var failedPrecondition: Self { Self(.failedPrecondition) }

  /// gRPC's *Aborted*.
  public static var aborted: Self { Self(.aborted) }

  /// gRPC's *OutOfRange*.
  public static var outOfRange: Self { Self(.outOfRange) }

  /// gRPC's *Unimplemented*: the member's release does not know the call.
  public static var unimplemented: Self { Self(.unimplemented) }

  /// gRPC's *Internal*; also an answer that is not understood.
  public static var `internal`: Self { Self(.internal) }

  /// gRPC's *Unavailable*: no member could be reached in time, or the connection broke. A write may have been applied.
  public static var unavailable: Self { Self(.unavailable) }

  /// gRPC's *DataLoss*; also a snapshot that is not whole.
  public static var dataLoss: Self { Self(.dataLoss) }

  /// gRPC's *Unauthenticated*.
  public static var unauthenticated: Self { Self(.unauthenticated) }

  init(_ code: GRPCCode) { self.init(rawValue: "\(code)") }
}

extension EtcdError {
  /// One message of etcd's that has a name.
  struct Row: Sendable {
    let message: String
    let code: Code
    let grpcCode: GRPCCode
    let name: String

    init(_ message: String, _ code: Code, _ grpcCode: GRPCCode, _ name: String) {
      self.message = message
      self.code = code
      self.grpcCode = grpcCode
      self.name = name
    }
  }

  private static let rows = Dictionary(uniqueKeysWithValues: table.map { ($0.message, $0) })

  /// The error for a call's status.
  init(_ status: GRPCStatus, endpoint: Endpoint? = nil) {
    self.init(Code(status.code), status.code, status.message)
    self.endpoint = endpoint?.description
    // This client's own messages have no name, even if they equal one of etcd's.
    guard status.origin == .server || status.origin == .login, let row = Self.rows[status.message] else { return }
    code = row.code
    grpcCode = row.grpcCode
    name = row.name
  }

  /// The error with which a watch ends.
  ///
  /// - Parameter reason: etcd's reason: a gRPC status as text, or only an error's message.
  init(watchCanceledBecause reason: String, compactRevision: Int64) {
    guard compactRevision == 0 else {
      self.init(GRPCStatus(.outOfRange, EtcdMessage.compacted, origin: .server))
      self.compactRevision = compactRevision
      return
    }
    self.init(GRPCStatus(watchCanceledBecause: reason))
  }

  static var clientClosed: EtcdError { EtcdError(.clientClosed, .canceled, "the client is closed") }

  static func invalidArgument(_ message: String) -> EtcdError {
    EtcdError(.invalidArgument, .invalidArgument, message)
  }
}
