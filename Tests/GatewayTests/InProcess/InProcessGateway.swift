import GrpcBridge
import HTTPServer
import Logging
import ServiceLifecycle

@testable import Gateway

/// Runs a gateway in this process, so that the tests' sanitizer checks it, too; `body` gets its URL. When `body` has
/// ended, so has the gateway, by itself: no call, stream or connection may keep it.
func withInProcessGateway(
  _ endpoints: [String], shards: Int = 2, _ change: (inout GatewaySettings) -> Void = { _ in },
  _ body: @Sendable (String) async throws -> Void
) async throws {
  var settings = GatewaySettings(endpoints: try endpoints.map { try Endpoint($0) })
  // A client that is slow because the machine is busy is served all the same.
  settings.http.clock.head = 600_000
  settings.http.clock.bodyRate = 0
  settings.timeLimits = TimeLimits(standard: 300_000)
  change(&settings)
  let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  var url = ""
  let service = try GatewayService(
    listen: [.init(.tcp(host: "127.0.0.1", port: 0))], tls: nil, shards: shards, settings: settings, renewal: .init(),
    logins: .init(), patience: 60_000, logger: logger, reloadsOnHangup: false
  ) { addresses in
    url = addresses[0].description
    return ""
  }
  let group = ServiceGroup(services: [service], logger: logger)
  async let end: Void = group.run()
  let result: Result<Void, any Error>
  do {
    result = .success(try await body(url))
  } catch {
    result = .failure(error)
  }
  await group.triggerGracefulShutdown()
  try await end
  try result.get()
}
