import GrpcBridge
import HTTPServer

/// The operations of `/leases`. The raw value is the operation's name in the API's description.
enum LeaseOperation: String, CaseIterable {
  case grantLease
  case listLeases
  case getLease
  case revokeLease
  case keepLeaseAlive
}

/// A request for `/leases` or a path below.
struct LeaseRequest {
  let operation: LeaseOperation
  /// The ID of the lease; 0 if none is named.
  let lease: Int64
  /// Whether to list the keys that are attached to the lease.
  let wantsKeys: Bool

  /// - Throws: ``RequestError`` if the request has no clear meaning.
  init(_ exchange: Exchange) throws(RequestError) {
    let isOfOne = LeasePath.route(exchange.head.path) != nil
    operation =
      switch (exchange.head.method, isOfOne) {
      case (.post, false): .grantLease
      case (.post, true): .keepLeaseAlive
      case (.delete, _): .revokeLease
      case (_, true): .getLease
      case (_, false): .listLeases
      }
    lease = isOfOne ? try LeasePath.lease(exchange.head.path) : 0
    if operation == .grantLease { try KeyQuery.checkIsEmpty(exchange.queryItems) }
    let known: [QueryParameter] = operation == .getLease ? [.keys] : []
    wantsKeys = try KeyQuery(exchange.queryItems) { known }.flag(.keys)
    try exchange.head.checkHasNoConditions()
  }

  /// Makes the handler of the request.
  func handler(_ exchange: Exchange, _ shard: Shard) throws(RequestError) -> any RequestHandler {
    switch operation {
    case .grantLease: try LeaseHandler(.grant, self, exchange: exchange, shard: shard)
    case .listLeases: try LeaseHandler(.list, self, exchange: exchange, shard: shard)
    case .getLease: try LeaseHandler(.get, self, exchange: exchange, shard: shard)
    case .revokeLease: try LeaseHandler(.revoke, self, exchange: exchange, shard: shard)
    case .keepLeaseAlive: try LeaseRenewalHandler(self, exchange: exchange, shard: shard)
    }
  }
}
