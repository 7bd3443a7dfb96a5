import GrpcBridge
import HTTPServer
import Transcoding

/// Answers with the metrics of the whole process.
///
/// They need no credentials, as etcd's own, where they are served to all clients: they name no user and no key. A page
/// of a foreign name may not, as they name the members of etcd.
final class MetricsHandler: RequestHandler {
  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private var token: Int?

  init(exchange: Exchange, shard: Shard) {
    self.exchange = exchange
    self.shard = shard
  }

  var needsAllowedHost: Bool { false }

  func receivedEnd() {
    do throws(RequestError) {
      if !exchange.isAdmin { try exchange.checkHost(shard.settings.hosts) }
    } catch {
      return exchange.refuse(error)
    }
    token = shard.scraper.ask(takesGzip: exchange.takesGzip) { [unowned self] answer in
      token = nil
      switch answer {
      case .text(let body, let isPacked):
        exchange.respond(
          200, contentType: "text/plain; version=0.0.4; charset=utf-8", shared: body,
          headers: Gzip.headers(isPacked: isPacked))
      case .shortage: exchange.refuse(.shortage)
      case .closing: exchange.respond(.error(503, .unavailable, OpenStreams.stopping))
      }
    }
  }

  func clientIsGone() {
    if let token { shard.scraper.forget(token) }
  }
}

extension RouteTable.Route {
  /// Whether the route is there for a request: `--admin-listen` has metrics and probes and nothing else, and metrics
  /// are nowhere else then.
  func isServed(to exchange: Exchange, _ settings: GatewaySettings) -> Bool {
    switch self {
    case .metrics, .probe(.status): exchange.isAdmin || !settings.hasAdminListener
    case .probe(.livez), .probe(.readyz), .probe(.health), .probe(.landing): true
    default: !exchange.isAdmin
    }
  }
}
