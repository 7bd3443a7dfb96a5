import EventLoop
import Glibc
import TestSupport

@testable import HTTPServer

/// A client that makes one request, and the connection by which it comes: passes the request on as libmicrohttpd does,
/// and keeps what is answered.
final class SimulatedClient: RequestConnection {
  /// How the request has ended.
  enum Ending: Equatable {
    /// The answer is whole.
    case answered
    /// There is no answer, or the rest of it does not come.
    case cut
    /// The answer goes on at the socket: ``raw``.
    case takenOver
  }

  private enum Stage {
    case head, body, answer
  }

  private(set) var ending: Ending?
  var exchange: Exchange?
  private let server: HTTPServer
  private let request: RequestBytes
  private var pieces: ArraySlice<UnsafeRawBufferPointer>
  private var stage = Stage.head
  private var isSuspended = false
  /// Whether a request that has waited at a gate goes on with another call for its head.
  private var repeatsHead = false
  /// Whether the client goes on with its request in this turn.
  private lazy var timer = LoopTimer(loop: server.loop) { [unowned self] in goOn() }

  private var status = 0
  private var headers: [(name: String, value: String)] = []
  private var received: [UInt8] = []
  private var isStreamed = false
  private var successor: TakenOverConnection?
  private var hasLeft = false

  init(
    _ server: HTTPServer, _ method: String, _ target: String, headers: [(String, String)], body: [String]
  ) {
    self.server = server
    var headers = headers
    if !headers.contains(where: { $0.0 == "Host" }) { headers.insert(("Host", "localhost"), at: 0) }
    if body.count > 1 {
      headers.append(("Transfer-Encoding", "chunked"))
    } else if let piece = body.first {
      headers.append(("Content-Length", "\(piece.utf8.count)"))
    }
    request = RequestBytes(method, target, headers, body: body)
    pieces = request.pieces[...]
  }

  // MARK: - What the client does

  func begin() {
    exchange = server.begin(request.line, by: self)
    goOn()
  }

  /// Disconnects.
  func leave() {
    guard let successor else { return exchange?.clientIsGone() ?? () }
    guard !hasLeft else { return }
    hasLeft = true
    server.hasGone(successor)
    server.needsRunSoon()
  }

  /// Disconnects, and ends a request that is still under way at once.
  func close() {
    leave()
    end(.cut)
  }

  /// The whole answer.
  ///
  /// - Throws: `HTTPFailure.closed` if there is none.
  func response() throws -> TestSupport.HTTPResponse {
    guard ending == .answered else { throw HTTPFailure.closed }
    return TestSupport.HTTPResponse(head: HTTPHead(status: status, headers: headers), body: received)
  }

  /// The bytes on a connection that was taken over, from the status line on.
  var raw: String { String(decoding: successor?.waiting ?? [], as: UTF8.self) }

  /// Gives a connection that was taken over a socket.
  ///
  /// - Returns: the client's end, which the caller closes.
  func openSocket() throws -> Int32 {
    var ends: [Int32] = [-1, -1]
    guard let successor, socketpair(AF_UNIX, nonBlockingStream, 0, &ends) == 0 else {
      throw TestSupportError("no connection was taken over, or there is no socket for it: \(errno)")
    }
    successor.open(ends[0])
    return ends[1]
  }

  private func goOn() {
    guard let exchange else { return }
    while !isSuspended, ending == nil {
      switch stage {
      case .head:
        stage = .body
        if !exchange.begin() { end(.cut) }
        repeatsHead = isSuspended
      case .body:
        if !(repeatsHead ? exchange.proceed() : goOn(with: exchange)) { end(.cut) }
        repeatsHead = false
      case .answer:
        if isStreamed { read(exchange) } else { end(.answered) }
      }
    }
  }

  /// Passes on the next piece of the body, or its end.
  private func goOn(with exchange: Exchange) -> Bool {
    guard exchange.isReceiving, let piece = pieces.popFirst() else { return exchange.proceed() }
    return exchange.receive(piece)
  }

  private func read(_ exchange: Exchange) {
    withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
      switch exchange.read(into: buffer) {
      case .bytes(let count): received += buffer[..<count]
      case .notYet: break
      case .end: end(.answered)
      case .broken: end(.cut)
      }
    }
  }

  private func end(_ ending: Ending) {
    guard let exchange, self.ending == nil else { return }
    self.ending = isTakenOver ? .takenOver : ending
    if let successor, successor.isFinishing { take(successor.waiting) }
    server.end(exchange, well: ending == .answered)
  }

  /// Takes an answer that was sent to the socket itself.
  private func take(_ bytes: [UInt8]) {
    let parts = String(decoding: bytes, as: UTF8.self).split(separator: "\r\n\r\n", maxSplits: 1)
    var lines = (parts.first ?? "").split(separator: "\r\n")[...]
    status = Int(lines.popFirst()?.split(separator: " ")[1] ?? "") ?? 0
    headers = lines.map { line in
      let colon = line.firstIndex(of: ":") ?? line.endIndex
      return (String(line[..<colon]), String(line[colon...].dropFirst(2)))
    }
    received = Array((parts.dropFirst().first ?? "").utf8)
    ending = .answered
  }

  // MARK: - RequestConnection

  let address = SocketAddress(numericHost: "192.0.2.1", port: 40_000)?.ipAddress
  let isPeerKnown = true
  let isAdmin = false
  let hasTLS = false
  private(set) var hasParted = false
  var isTakenOver: Bool { successor != nil }

  var fields: [(name: HeadBytes, value: HeadBytes)] { request.fields }

  func readFields(into head: inout RequestHead) {
    for field in request.fields { head.take(field.name, field.value) }
  }

  func suspendRequest() { isSuspended = true }
  func suspendAnswer() { isSuspended = true }
  func hasMadeProgress() {}

  func resume() {
    isSuspended = false
    timer.start(after: 0)
  }

  func send(_ answer: consuming Answer) -> Bool {
    stage = .answer
    status = Int(answer.status)
    let (contentType, own) = (answer.contentType, answer.headers)
    if let contentType { headers.append(("Content-Type", "\(contentType)")) }
    exchange?.fields(of: answer.status, own) { headers.append(("\($0)", $1)) }
    let hasBody = exchange?.head.method != .head && status != 304
    switch answer.takeBody() {
    case .own(let bytes): bytes.withUnsafeBytes { if hasBody { received += $0 } }
    case .constant(let bytes): if hasBody { received += bytes }
    case .shared(let body): if hasBody { received += body.bytes }
    case .streamed: isStreamed = hasBody
    case .upgrade: successor = exchange?.takeSuccessor()
    }
    return true
  }

  func sendAtOnce(_ bytes: UnsafeRawBufferPointer) -> Int {
    received += bytes
    return bytes.count
  }

  func breakOff() {}

  func beTakenOver(by successor: TakenOverConnection) -> Bool {
    self.successor = successor
    return true
  }

  func cut() {
    hasParted = true
  }

  func hasEnded(isAnswered: Bool) {}
}

/// A request in memory, as it comes over the wire.
private final class RequestBytes {
  private let bytes: UnsafeMutableBufferPointer<UInt8>
  let line: RequestLine
  private(set) var fields: [(name: HeadBytes, value: HeadBytes)] = []
  /// The body.
  private(set) var pieces: [UnsafeRawBufferPointer] = []

  init(_ method: String, _ target: String, _ headers: [(String, String)], body: [String]) {
    var text: [UInt8] = []
    /// Appends a part, and what separates it from the next one. Returns where the part is.
    func add(_ part: String, _ separator: String) -> Range<Int> {
      text += part.utf8
      defer { text += separator.utf8 }
      return text.count - part.utf8.count..<text.count
    }
    let line = [add(method, " "), add(target, " "), add("HTTP/1.1", "\r\n")]
    let fields = headers.map { (add($0.0, ": "), add($0.1, "\r\n")) }
    _ = add("", "\r\n")
    let size = text.count
    let pieces = body.map { piece in
      if body.count > 1 { _ = add(String(piece.utf8.count, radix: 16), "\r\n") }
      return add(piece, "\r\n")
    }
    let bytes = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: text.count)
    _ = bytes.initialize(from: text)
    self.bytes = bytes
    func part(_ range: Range<Int>) -> HeadBytes { HeadBytes(rebasing: bytes[range]) }
    self.line = RequestLine(
      method: part(line[0]), target: part(line[1]), version: part(line[2]), head: part(0..<size))
    self.fields = fields.map { (part($0), part($1)) }
    self.pieces = pieces.map { UnsafeRawBufferPointer(part($0)) }
  }

  deinit { bytes.deallocate() }
}
