import ByteBuffers
import EventLoop
import Glibc
@testable import HTTPServer
import Logging

/// The service of the servers in these tests: each path is one thing that a handler may do. Belongs to its server's
/// loop.
final class TestService: HTTPService {
  let loop: EventLoop
  private let memory: MemoryAccount
  private let sockets: TakenOverConnections
  private(set) var server: HTTPServer!
  private var drainTimer: LoopTimer?
  private var isClosed = false
  /// How many requests have ended, and how many of their answers broke off.
  private(set) var endedCount = 0
  private(set) var cutCount = 0
  /// How many handlers and gates were notified that their client has disconnected.
  var goneCount = 0

  init(
    loop: EventLoop, listeners: [Listener], limits: HTTPServer.Limits = .init(), memoryBytes: Int = 64 << 20
  ) throws {
    self.loop = loop
    let trimmer = MemoryTrimmer(loop: loop)
    memory = MemoryAccount(MemoryBudget(bytes: memoryBytes), trimmer: trimmer)
    sockets = TakenOverConnections(loop: loop, stallLimit: 60_000, memory: memory, trimmer: trimmer)
    server = try HTTPServer(
      loop: loop, listeners: listeners, tls: nil, limits: limits, origins: AllowedOrigins(), sockets: sockets,
      memory: memory, trimmer: trimmer, service: self, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    loop.beforeWaiting { [unowned self] in turn() }
  }

  private func turn() {
    guard !isClosed else { return }
    server.turn()
    sockets.flush()
    if server.needsRun { server.comeBack() }
  }

  /// Ends the server and its loop once all requests have ended.
  func drain() {
    server.beginDraining()
    drainTimer = LoopTimer(loop: loop) { [unowned self] in
      guard server.exchangeCount == 0, sockets.count == 0 else { return }
      drainTimer = nil
      isClosed = true
      server.stop()
      loop.stop()
    }
    drainTimer?.start(after: 0, every: 5)
  }

  // MARK: - HTTPService

  func handler(for exchange: Exchange) -> any RequestHandler {
    TestHandler(String(decoding: exchange.head.path, as: UTF8.self), exchange, self)
  }

  func gate(for exchange: Exchange, handledBy handler: any RequestHandler) throws(RequestError) -> (any RequestGate)? {
    switch String(decoding: exchange.head.path, as: UTF8.self) {
    case "/gate/opens": TestGate(exchange, self, opens: true)
    case "/gate/stays-shut": TestGate(exchange, self, opens: false)
    case "/gate/refuses": throw RequestError(401, "not you")
    default: nil
    }
  }

  func response(to error: RequestError) -> HTTPResponse {
    var response = HTTPResponse(status: error.status, text: "\"\(error.message)\"")
    response.headers = error.headers
    response.errorCode = error.code ?? 1
    return response
  }

  func challenges(to head: borrowing RequestHead) -> HTTPResponse.Headers { [("WWW-Authenticate", "Test")] }

  func ended(_ exchange: Exchange, isCut: Bool) {
    endedCount += 1
    if isCut { cutCount += 1 }
  }
}

/// Lets a request go on in a later turn of the loop, or never.
private final class TestGate: RequestGate {
  private unowned let exchange: Exchange
  private unowned let service: TestService
  private let opens: Bool
  private lazy var timer = LoopTimer(loop: service.loop) { [unowned self] in exchange.leaveGate() }

  init(_ exchange: Exchange, _ service: TestService, opens: Bool) {
    self.exchange = exchange
    self.service = service
    self.opens = opens
  }

  func ask() {
    if opens { timer.start(after: 1) }
  }

  func cancel() {
    timer.stop()
    service.goneCount += 1
  }
}

/// Executes what its path says.
private final class TestHandler: RequestHandler {
  private let path: String
  private unowned let exchange: Exchange
  private unowned let service: TestService
  private var body = ByteBuffer()
  private var pieceCount = 0
  private lazy var timer = LoopTimer(loop: service.loop) { [unowned self] in timeHasCome() }

  init(_ path: String, _ exchange: Exchange, _ service: TestService) {
    self.path = path
    self.exchange = exchange
    self.service = service
  }

  var bodyUse: BodyUse { path == "/held" ? .asItComes : .whole }
  var isEndless: Bool { path == "/never" }
  var needsAllowedHost: Bool { false }

  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) {
    body.append(bytes)
    if path == "/refuses-midway" { exchange.refuse(RequestError(403, "no more of this")) }
    if path == "/held" {
      exchange.holdBody()
      timer.start(after: 1)
    }
  }

  func receivedEnd() {
    switch path {
    case "/later", "/gate/opens": timer.start(after: 1)
    case "/never": break
    case "/twice":
      answer("first")
      answer("second")
    case "/stream", "/breaks": exchange.respond(streaming: 200, contentType: "text/plain", headers: [])
    case "/taken-over":
      let connection = exchange.takeOver(answering: 200, delegate: nil)
      let bytes = SocketBytes("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ntaken")
      connection.send(bytes.bytes, of: bytes)
      connection.finish()
    default: answer(nil)
    }
  }

  private func answer(_ text: String?) {
    let response = text.map { HTTPResponse(status: 200, contentType: "text/plain", text: $0) }
    exchange.respond(response ?? HTTPResponse(status: 200, body: body.takeAll()))
  }

  private func timeHasCome() {
    switch path {
    case "/held": exchange.takeMoreBody()
    case "/stream", "/breaks": exchange.streamIsReadable()
    default: answer(nil)
    }
  }

  /// Three pieces, each in a turn of its own.
  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead {
    pieceCount += 1
    guard !pieceCount.isMultiple(of: 2) else {
      timer.start(after: 1)
      return .notYet
    }
    if pieceCount > 5 { return path == "/breaks" ? .broken : .end }
    buffer[0] = UInt8(ascii: "0") + UInt8(pieceCount)
    return .bytes(1)
  }

  func clientIsGone() {
    timer.stop()
    service.goneCount += 1
  }
}
