package import EventLoop
import GrpcBridge
import HTTPServer
package import Logging

/// A shard without listeners, and with an authenticator of its own on the same loop: for tests and benchmarks, which
/// make the requests (``HTTPServer/begin(_:by:)``) and run the loop.
package final class LoneShard {
  package let shard: Shard
  private let authenticator: Authenticator

  /// Made once for all, as they cost more than all else.
  private static let routes = Result { try RouteTable() }

  package init(on loop: EventLoop, settings: GatewaySettings, logger: Logger) throws {
    let routes = try Self.routes.get()
    authenticator = Authenticator(
      on: loop, endpoints: settings.endpoints, channel: settings.bridge.channel, configuration: .init(),
      logger: logger)
    shard = try Shard(
      loop: loop, listeners: [], tls: nil, settings: settings, routes: routes, descriptions: OpenAPIFiles(routes),
      authenticator: authenticator,
      streamCount: StreamCount(most: settings.streams.most, maxNew: settings.streams.maxNew),
      memoryBudget: MemoryBudget(bytes: settings.memoryBytes),
      telemetry: Telemetry(authenticator: authenticator, tls: nil, memoryLimit: settings.memoryBytes, spans: nil),
      spans: nil, logger: logger)
  }

  package func close() {
    shard.close()
    authenticator.close()
  }
}
