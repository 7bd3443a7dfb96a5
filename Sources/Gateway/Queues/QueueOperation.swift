import HTTPServer

/// The operations of `/locks` and `/elections`. The raw value is the operation's name in the API's description.
enum QueueOperation: String, CaseIterable {
  case acquireLock
  case getLock
  case keepLockAlive
  case releaseLock
  case campaignInElection
  case getLeader
  case keepLeaderAlive
  case proclaimValue
  case resignLeader

  /// - Returns: nil for the changes of an election, which are a stream.
  private init(_ route: RouteTable.Varying, _ method: HTTPMethod) {
    self =
      switch (route, method) {
      case (.lockRenewal, _): .keepLockAlive
      case (.electionRenewal, _): .keepLeaderAlive
      case (.election, .post): .campaignInElection
      case (.election, .put): .proclaimValue
      case (.election, .delete): .resignLeader
      case (.election, _): .getLeader
      case (_, .post): .acquireLock
      case (_, .delete): .releaseLock
      default: .getLock
      }
  }

  /// Makes the handler of a request.
  ///
  /// - Throws: ``RequestError`` if the request has no clear meaning.
  static func handler(
    of route: RouteTable.Varying, for exchange: Exchange, _ shard: Shard
  ) throws(RequestError) -> any RequestHandler {
    try exchange.head.checkHasNoConditions()
    return switch QueueOperation(route, exchange.head.method) {
    case .acquireLock: try LockHandler(exchange, shard: shard)
    case .campaignInElection: try CampaignHandler(exchange, shard: shard)
    case .getLock, .getLeader: try QueueHolderHandler(exchange, shard: shard)
    case .keepLockAlive, .keepLeaderAlive: try QueueRenewalHandler(exchange, shard: shard)
    case .releaseLock, .resignLeader: try QueueReleaseHandler(exchange, shard: shard)
    case .proclaimValue: try ProclaimHandler(exchange, shard: shard)
    }
  }
}
