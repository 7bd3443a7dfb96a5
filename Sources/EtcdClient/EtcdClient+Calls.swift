internal import EtcdSchema
internal import GrpcBridge
internal import SwiftProtobuf

/// The time limit of a call.
enum CallLimit {
  /// The given one, otherwise that of the configuration.
  case usual(Duration?)
  /// The given one, otherwise none: the call waits for others by design.
  case waits(Duration?)
}

extension RPC {
  /// The RPC as the client calls it.
  var clientMethod: CallMethod { EtcdClient.methods[traits.number] }
}

extension EtcdClient {
  /// The RPCs by their numbers. The client has one user, or none, so that no anonymous call has to be kept from etcd.
  fileprivate static let methods = EtcdRPC.all.map { CallMethod($0, userNeed: UserNeed.none, runsToEnd: false) }

  /// Makes a unary call.
  ///
  /// - Parameters:
  ///   - endpoint: the member that the call is for; nil for any.
  ///   - hasCredentials: whether it is made on behalf of the client's user.
  /// - Throws: ``EtcdError``, or `CancellationError` if the task is cancelled.
  func call<Request, Response>(
    _ rpc: RPC<Request, Response>, _ request: Request, _ limit: CallLimit, endpoint: String? = nil,
    hasCredentials: Bool = true
  ) async throws -> Response {
    let target = try endpoint.map { try Endpoint(forClient: $0) }
    let answer = try await perform(rpc.clientMethod, encode(request), limit, at: target, hasCredentials: hasCredentials)
    return try decode(answer)
  }

  private func perform(
    _ method: CallMethod, _ message: [UInt8], _ limit: CallLimit, at target: Endpoint?, hasCredentials: Bool
  ) async throws -> [UInt8] {
    try checkSize(message)
    let timeout = try timeout(limit)
    let cancellationToken = CancellationToken()
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let isTaken = execute { core in
          let call = UnaryCall(
            method, message, timeout: timeout, credentials: hasCredentials, target: target, core: core,
            cancellationToken: cancellationToken,
            continuation: continuation)
          core.start(call, cancellationToken)
        }
        if !isTaken { continuation.resume(throwing: EtcdError.clientClosed) }
      }
    } onCancel: {
      cancellationToken.cancel()
      execute { $0.cancel(cancellationToken) }
    }
  }

  func checkSize(_ message: [UInt8]) throws {
    let most = configuration.maxSendBytes
    guard message.count <= most else {
      let text = "the request has \(message.count) bytes, more than the maximum of \(most) (maxSendBytes)"
      throw EtcdError(.resourceExhausted, .resourceExhausted, text)
    }
  }

  /// - Throws: ``EtcdError`` if no time is left at all.
  func timeout(_ limit: CallLimit) throws -> GRPCTimeout? {
    let duration: Duration? =
      switch limit {
      case .usual(let given): given ?? configuration.requestTimeout
      case .waits(let given): given
      }
    guard let duration else { return nil }
    guard duration > .zero else {
      throw EtcdError(.deadlineExceeded, .deadlineExceeded, "the time limit of the call is \(duration)")
    }
    return GRPCTimeout(milliseconds: duration.milliseconds)
  }
}

/// - Throws: ``EtcdError`` if the message cannot be encoded.
func encode(_ message: some Message) throws -> [UInt8] {
  do { return try message.encoded() } catch { throw EtcdError(error) }
}

/// - Throws: ``EtcdError`` if the bytes are no such message.
func decode<Response: Message>(_ bytes: [UInt8]) throws -> Response {
  do {
    return try Response(serializedBytes: bytes)
  } catch {
    throw EtcdError(.internal, .internal, "etcd sent an invalid answer: \(error)")
  }
}
