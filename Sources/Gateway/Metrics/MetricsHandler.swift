import GrpcBridge
import HTTPServer
import Transcoding

/// Answers with the metrics of the whole process.
///
/// They need no credentials, as in etcd: they name no user and no key. But they name the members of etcd, so that a
/// page of a foreign host may not read them.
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
  /// Whether a request may use the route: `--admin-listen` serves only metrics and probes, and then metrics are served
  /// nowhere else.
  func isServed(to exchange: Exchange, _ settings: GatewaySettings) -> Bool {
    switch self {
    case .metrics, .probe(.status): exchange.isAdmin || !settings.hasAdminListener
    case .probe(.livez), .probe(.readyz), .probe(.health), .probe(.landing): true
    default: !exchange.isAdmin
    }
  }
}
