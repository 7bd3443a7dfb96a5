import ByteBuffers
import EventLoop
import GrpcBridge
import TLS

/// One HTTP request from the gateway to another server, on its own connection, which ends with the answer. Belongs to
/// one loop.
final class OutgoingRequest {
  /// Why there is no answer, in one line.
  struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
  }

  /// Begins a TLS session with the server over a socket.
  typealias Secure = (_ descriptor: Int32) throws -> TLSSession

  private let loop: EventLoop
  private let endpoint: Endpoint
  private let secure: Secure?
  private var completion: ((Result<OutgoingAnswer, Failure>) -> Void)?
  private var request = ByteBuffer()
  private var dialer: Dialer?
  private var socket: StreamSocket?
  private var wire: ByteTransport?
  private var isSecured = false
  private var reader: OutgoingAnswerReader
  private var timer: LoopTimer?
  private var comeBack: LoopTimer?
  /// So many reads are made in one turn: a server that sends without end delays nothing else.
  private static let maxReads = 16

  /// - Parameters:
  ///   - secure: nil for plaintext.
  ///   - maxAnswer: how large the answer may be with its head, in bytes.
  ///   - completion: called once, later, with the result.
  init(
    to endpoint: Endpoint, secure: Secure?, maxAnswer: Int, loop: EventLoop,
    completion: @escaping (Result<OutgoingAnswer, Failure>) -> Void
  ) {
    self.loop = loop
    self.endpoint = endpoint
    self.secure = secure
    self.completion = completion
    reader = OutgoingAnswerReader(maxBytes: maxAnswer)
  }

  /// Connects and sends the request.
  ///
  /// - Parameters:
  ///   - request: the whole request with its head, which says that the connection is to be closed after the answer.
  ///   - timeout: how many milliseconds everything together may take.
  func start(_ request: consuming ByteBuffer, timeout: UInt64) {
    self.request = request
    timer = LoopTimer(loop: loop) { [unowned self] in fail(delay(timeout)) }
    timer?.start(after: timeout)
    dialer = Dialer(loop: loop, endpoint: endpoint) { [unowned self] result in
      switch result {
      case .success(let socket): connected(socket)
      case .failure(let failure): failLater(failure.reason)
      }
    }
    dialer?.start()
  }

  /// Ends the request without calling `completion`.
  func cancel() {
    completion = nil
    finish(.failure(Failure("cancelled")))
  }

  private func delay(_ timeout: UInt64) -> String {
    let what = dialer?.trouble ?? (isSecured ? "no answer" : "no answer in TLS")
    return "\(what) within \(timeout) ms"
  }

  /// Not during the start, when the caller may not expect it.
  private func failLater(_ reason: String) {
    timer = LoopTimer(loop: loop) { [unowned self] in fail(reason) }
    timer?.start(after: 0)
  }

  private func connected(_ socket: StreamSocket) {
    dialer = nil
    self.socket = socket
    var session: TLSSession?
    if let secure {
      do { session = try secure(socket.descriptor) } catch { return failLater("\(error)") }
    }
    let wire = ByteTransport(socket, tls: session, expectedProtocol: nil)
    self.wire = wire
    request.withUnsafeBytes { wire.queue($0) }
    request.removeAll()
    socket.onEvent = { [unowned self] _ in serve() }
    serve()
  }

  private func serve() {
    withExtendedLifetime(self) {
      guard let wire else { return }
      if !isSecured {
        switch wire.handshake() {
        case .done: isSecured = true
        case .underWay: return
        case .failed(let reason): return fail(reason)
        }
      }
      var fault: String?
      // If a server accepts no more, it may have sent the reason.
      do { try wire.send() } catch { fault = "\(error)" }
      receive(wire, fault)
    }
  }

  private func receive(_ wire: ByteTransport, _ fault: String?) {
    withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 16) { buffer in
      for _ in 0..<Self.maxReads {
        switch wire.read(into: buffer) {
        case .bytes(let count, _):
          switch reader.take(UnsafeRawBufferPointer(rebasing: buffer[..<count])) {
          case .unfinished: continue
          case .whole(let answer): return finish(.success(answer))
          case .malformed(let reason): return fail(reason)
          }
        case .wouldBlock: return fault.map(fail) ?? wire.watch()
        case .closed:
          if let answer = reader.end() { return finish(.success(answer)) }
          return fail(fault ?? "the server has closed the connection before the end of its answer")
        case .failed(let reason): return fail(fault ?? reason)
        }
      }
      let timer = comeBack ?? LoopTimer(loop: loop) { [unowned self] in serve() }
      comeBack = timer
      timer.start(after: 0)
    }
  }

  private func fail(_ reason: String) { finish(.failure(Failure(reason))) }

  private func finish(_ result: Result<OutgoingAnswer, Failure>) {
    timer = nil
    comeBack = nil
    dialer = nil
    wire = nil
    socket = nil
    completion.take()?(result)
  }
}
