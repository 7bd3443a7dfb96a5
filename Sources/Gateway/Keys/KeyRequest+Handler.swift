import HTTPServer

extension KeyRequest {
  /// Makes the handler of the request.
  func handler(_ exchange: Exchange, _ shard: Shard) throws(RequestError) -> any RequestHandler {
    switch operation {
    case .getKey: return try KeyReadHandler(self, exchange: exchange, shard: shard)
    case .putValue, .putKey: return try KeyWriteHandler(self, exchange: exchange, shard: shard)
    case .importKeys: return try KeyImportHandler(self, exchange: exchange, shard: shard)
    case .deleteKey, .deleteKeys: return try KeyDeleteHandler(self, exchange: exchange, shard: shard)
    case .listKeys: return try KeyListHandler(self, exchange: exchange, shard: shard)
    case .exportKeys: return try KeyExportHandler(self, exchange: exchange, shard: shard)
    case .watchKey, .watchKeys: return try KeyWatchHandler(self, exchange: exchange, shard: shard)
    case .awaitKey, .awaitKeys: return try KeyWaitHandler(self, exchange: exchange, shard: shard)
    }
  }
}
