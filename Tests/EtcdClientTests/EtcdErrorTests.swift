import Foundation
import TestSupport
import Testing

@testable import EtcdClient
@testable import GrpcBridge

/// Errors by name: every row of the table, as it comes over the wire.
@Suite struct EtcdErrorTests {
  struct Row: Sendable, CustomTestStringConvertible {
    let code: GRPCCode
    let message: String
    let name: String

    var testDescription: String { message }

    /// The name in Swift: without its prefix, and its first letter small.
    var swiftName: String {
      let rest = name.hasPrefix("ErrGRPC") ? name.dropFirst(7) : name.dropFirst(3)
      return rest.prefix(1).lowercased() + rest.dropFirst()
    }
  }

  static let rows: [Row] = {
    let path = "\(packageRoot)/Sources/GrpcBridge/Errors/etcd-errors.tsv"
    return ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").split(separator: "\n").compactMap { line in
      let fields = line.split(separator: "\t").map(String.init)
      guard fields.count == 3, let code = GRPCCode.allCases.first(where: { "\($0)" == lowercasedFirst(fields[0]) })
      else { return nil }
      return Row(code: code, message: fields[1], name: fields[2])
    }
  }()

  private static func lowercasedFirst(_ text: String) -> String { text.prefix(1).lowercased() + text.dropFirst() }

  @Test func everyRowComesOverTheWireByName() async throws {
    #expect(Self.rows.count == 77)
    try await withScriptedClient(script: { call in
      // The key of the request, a number, is the row.
      let row = Self.rows[Int(String(decoding: call.message.dropFirst(2), as: UTF8.self)) ?? 0]
      return .failure(row.code.rawValue, row.message)
    }) { client, peer in
      for (index, row) in Self.rows.enumerated() {
        // A put is not repeated, not even on Unavailable, and no token is requested.
        let error = await expectError(.init(rawValue: row.swiftName)) { try await client.put("\(index)", "") }
        #expect(error?.message == row.message && error?.name == row.name && error?.endpoint == peer.endpoint)
        // If etcd has a code for it, this is the one.
        let first = Self.rows.first { $0.name == row.name }
        #expect(error?.grpcCode == first?.code)
      }
    }
  }

  /// As etcd sends them if it passes an inner error on.
  @Test(arguments: [
    ("etcdserver: too many requests", EtcdError.Code.requestTooManyRequests, GRPCCode.resourceExhausted),
    ("not a primary lessor", .notPrimary, .unavailable),
    (
      "etcdserver: re-configuration failed due to not enough started members", .memberNotEnoughStarted,
      .failedPrecondition
    ),
    ("etcdserver: request timed out", .timeout, .unavailable),
    ("something new", .unknown, .unknown),
  ])
  func codeUnknownIsLookedUp(message: String, code: EtcdError.Code, grpcCode: GRPCCode) async throws {
    try await withScriptedClient(script: { _ in .failure(2, message) }) { client, _ in
      let error = await expectError(code) { try await client.put("k", "v") }
      #expect(error?.grpcCode == grpcCode && error?.message == message)
    }
  }

  @Test(arguments: GRPCCode.allCases.dropFirst())
  func everyGrpcCodeIsAKind(code: GRPCCode) async throws {
    try await withScriptedClient(script: { _ in .failure(code.rawValue, "etcdserver: of the future") }) { client, _ in
      let error = await expectError(.init(rawValue: "\(code)")) { try await client.put("k", "v") }
      #expect(error?.grpcCode == code && error?.name == nil)
    }
  }

  @Test func namedKindsOfGrpcAreTheGenericOnes() {
    let named: [(EtcdError.Code, GRPCCode)] = [
      (.canceled, .canceled), (.unknown, .unknown), (.invalidArgument, .invalidArgument),
      (.deadlineExceeded, .deadlineExceeded), (.notFound, .notFound), (.alreadyExists, .alreadyExists),
      (.permissionDenied, .permissionDenied), (.resourceExhausted, .resourceExhausted),
      (.failedPrecondition, .failedPrecondition), (.aborted, .aborted), (.outOfRange, .outOfRange),
      (.unimplemented, .unimplemented), (.internal, .internal), (.unavailable, .unavailable), (.dataLoss, .dataLoss),
      (.unauthenticated, .unauthenticated),
    ]
    #expect(named.map(\.1) == Array(GRPCCode.allCases.dropFirst()))
    for (code, grpcCode) in named { #expect(code == EtcdError(GRPCStatus(grpcCode, "x", origin: .server)).code) }
  }

  @Test(arguments: [
    ("rpc error: code = PermissionDenied desc = etcdserver: permission denied", EtcdError.Code.permissionDenied),
    ("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", .invalidAuthToken),
    ("rpc error: code = Aborted desc = of the future", .aborted), ("rpc error: code = ", .unknown),
    ("etcdserver: watch canceled", .watchCanceled), ("of the future", .unknown), ("", .watchCanceled),
  ])
  func theReasonOfACanceledWatchIsRead(reason: String, code: EtcdError.Code) {
    #expect(EtcdError(watchCanceledBecause: reason, compactRevision: 0).code == code)
  }

  /// This client's own messages are not taken for etcd's.
  @Test func ourOwnWordsHaveNoName() {
    let error = EtcdError(GRPCStatus(.unavailable, EtcdMessage.noLeader))
    #expect(error.code == .unavailable && error.name == nil)
  }
}
