import ByteBuffers
import EventLoop
import HTTPServer

/// A request that is made again and again, in memory: it does as little of its own as it can.
final class BenchmarkRequest: RequestConnection {
  private let server: HTTPServer
  private let loop: EventLoop
  private let line: RequestLine
  let fields: [(name: HeadBytes, value: HeadBytes)]
  private let body: HeadBytes
  unowned(unsafe) var exchange: Exchange?
  private var isResumed = false
  private var status: UInt32 = 0

  /// - Parameter server: of a shard without listeners.
  init(
    _ method: StaticString, _ target: StaticString, fields: [(StaticString, String)], body: StaticString,
    server: HTTPServer, loop: EventLoop
  ) {
    self.server = server
    self.loop = loop
    self.body = body.bytes
    let length = body.utf8CodeUnitCount == 0 ? [] : [("Content-Length" as StaticString, "\(body.utf8CodeUnitCount)")]
    let fields = fields + length
    let lines = fields.map { "\($0.0): \($0.1)\r\n" }.joined()
    let text = Array("\(method) \(target) HTTP/1.1\r\n\(lines)\r\n".utf8)
    // Never freed.
    let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: text.count)
    _ = memory.initialize(from: text)
    var end = 0
    /// The next part of the head, and how many bytes separate it from the one after it.
    func next(_ count: Int, _ gap: Int) -> HeadBytes {
      defer { end += count + gap }
      return HeadBytes(rebasing: memory[end..<end + count])
    }
    line = RequestLine(
      method: next(method.utf8CodeUnitCount, 1), target: next(target.utf8CodeUnitCount, 1), version: next(8, 2),
      head: HeadBytes(memory))
    self.fields = fields.map { (next($0.0.utf8CodeUnitCount, 2), next($0.1.utf8.count, 2)) }
  }

  /// Begins the request, and does no more than that.
  func begin() -> Exchange { server.begin(line, by: self) }

  /// Serves the whole request; returns the status of its answer.
  func serve() -> UInt32 {
    let exchange = begin()
    status = 0
    isResumed = false
    var isOpen = exchange.begin()
    if isOpen && !body.isEmpty { isOpen = exchange.receive(UnsafeRawBufferPointer(body)) }
    if isOpen { isOpen = exchange.proceed() }
    if isOpen && status == 0 {
      loop.run { isResumed }
      _ = exchange.proceed()
    }
    server.end(exchange, well: status != 0)
    return status
  }

  // MARK: - RequestConnection

  var address: IPAddress? { nil }
  var isPeerKnown: Bool { true }
  var isAdmin: Bool { false }
  var hasTLS: Bool { false }
  var hasParted: Bool { false }
  var isTakenOver: Bool { false }

  func readFields(into head: inout RequestHead) {
    for field in fields { head.take(field.name, field.value) }
  }

  func suspendRequest() {}
  func suspendAnswer() {}
  func resume() { isResumed = true }
  func hasMadeProgress() {}

  func send(_ answer: consuming Answer) -> Bool {
    status = answer.status
    exchange?.fields(of: answer.status, answer.headers) { _, _ in }
    return true
  }

  func sendAtOnce(_ bytes: UnsafeRawBufferPointer) -> Int { 0 }
  func breakOff() {}
  func beTakenOver(by successor: TakenOverConnection) -> Bool { false }
  func cut() {}
  func hasEnded(isAnswered: Bool) {}
}
