import GrpcBridge
import HTTPServer
import Transcoding

/// Does the handshake with a client that wants to switch to a WebSocket, and lets a ``WebSocketStream`` serve it.
final class WebSocketHandler: RequestHandler {
  private let route: RPCRoute
  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private var hasBody = false

  init(_ route: RPCRoute, exchange: Exchange, shard: Shard) {
    self.route = route
    self.exchange = exchange
    self.shard = shard
  }

  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) { hasBody = true }

  func receivedEnd() {
    do throws(RequestError) {
      try begin()
    } catch {
      exchange.refuse(error)
    }
  }

  var isEndless: Bool { true }

  // Once the connection is taken over, the stream is notified.
  func clientIsGone() {}

  private func begin() throws(RequestError) {
    // Bytes after the head belong to the WebSocket.
    if hasBody { throw .badRequest("the request for a WebSocket has a body") }
    var handshake = WebSocketHandshake()
    for header in exchange.headers { handshake.take(name: header.name, value: header.value) }
    let acceptance = try handshake.accept(
      isHTTP10: exchange.head.isHTTP10, host: exchange.host ?? "", isSecure: exchange.isSecure,
      usesBasic: AuthorizationField.isBasic(exchange.head.authorization), origins: shard.settings.origins)
    let caller =
      if let token = acceptance.token {
        Caller(.token(Token(token)), peer: exchange.peer, trace: exchange.trace)
      } else {
        try Caller(exchange, shard: shard, keepsPassword: true, isLogin: route.isAuthenticate)
      }
    let stream = WebSocketStream(
      route, shard: shard, caller: caller,
      timeout: try shard.settings.timeLimits.limit(of: exchange, waits: route.waits || route.kind != .unary),
      isStrict: exchange.head.isStrict, requestID: exchange.id.text)
    try stream.enter(shard.streams, heartbeat: try exchange.heartbeat())
    var headers = acceptance.headers
    if exchange.head.isStrict { headers.append(("Preference-Applied", "handling=strict")) }
    let record = shard.journal.streamBegins(exchange, .websocket)
    stream.begin(exchange.upgrade(headers: headers, delegate: stream), record)
  }
}
