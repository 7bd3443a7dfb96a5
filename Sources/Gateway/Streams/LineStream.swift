import ByteBuffers
import EventLoop
import Glibc
import GrpcBridge
import HTTPServer
import Transcoding

/// The answer of a stream over plain HTTP: a line of JSON for each message, or another kind of frame of its source's,
/// each a chunk of its own. Belongs to its shard's loop.
///
/// The connection is taken over when the first line is sent. Until then an error is an ordinary response.
final class LineStream: StreamSink {
  private enum State {
    /// libmicrohttpd still has the request, so the exchange is alive.
    case waiting
    case open(TakenOverConnection)
    case ended
  }

  /// Nil from the first frame on: an unowned reference would keep the exchange's memory, which is large for a stream
  /// that waits.
  private unowned var exchange: Exchange?
  let requestID: String
  private let journal: RequestJournal
  private let contentType: StaticString
  /// Whether the stream ends when the gateway stops, because it has no end of its own.
  private let isEndless: Bool
  private let isChunked: Bool
  private let hadCredentials: Bool
  var takesRequests = true {
    didSet { takeRequests() }
  }
  /// The source of the stream; nil once it has ended.
  var source: (any StreamSource)? {
    didSet {
      if source == nil { requests = nil }
    }
  }
  /// The requests that were not passed on yet, all of which have come before the stream begins.
  private struct Requests {
    let left: RequestSequence
    let session: any StreamSession
    let maxBacklog: Int
    var turn: RequestTurn
  }

  private var requests: Requests?
  private var isTakingRequests = false
  /// Further headers of the response, sent with the first frame.
  var headers: HTTPResponse.Headers = []
  private var state = State.waiting
  private var place: OpenStreams.Place?
  /// Counts the stream, from the first frame on until the end.
  private var record: StreamRecord?
  /// How many requests were passed on before that.
  private var earlyRequests = 0

  /// - Parameters:
  ///   - journal: counts the stream.
  ///   - hadCredentials: whether the request came with credentials.
  init(
    _ exchange: Exchange, _ journal: RequestJournal, contentType: StaticString = "application/json",
    hadCredentials: Bool
  ) {
    self.exchange = exchange
    self.journal = journal
    requestID = exchange.id.text
    self.contentType = contentType
    isEndless = exchange.isEndless
    self.hadCredentials = hadCredentials
    isChunked = !exchange.head.isHTTP10
  }

  /// Takes its place among the open streams.
  ///
  /// - Throws: the error for the client if there is no place.
  func enter(_ streams: OpenStreams, heartbeat: UInt64?, timeout: UInt64?) throws(RequestError) {
    place = try streams.admit(self, heartbeat: heartbeat, timeout: timeout)
  }

  var isEnded: Bool {
    if case .ended = state { true } else { false }
  }

  /// Passes requests on to the stream's source, as fast as the client takes the answers.
  ///
  /// - Parameters:
  ///   - maxBacklog: while more bytes than this wait for the client, requests wait, too.
  ///   - loop: gives the stream its turns.
  func take(_ requests: RequestSequence, for session: any StreamSession, maxBacklog: Int, on loop: EventLoop) {
    self.requests = Requests(left: requests, session: session, maxBacklog: maxBacklog, turn: RequestTurn(on: loop))
    takeRequests()
  }

  private func takeRequests() {
    guard !isTakingRequests else { return }
    isTakingRequests = true
    defer { isTakingRequests = false }
    while let requests, !isEnded {
      guard !requests.left.isAtEnd else {
        self.requests = nil
        return requests.session.receiveEnd()
      }
      guard takesRequests && backlog <= requests.maxBacklog && !requests.turn.isOver else { return }
      do {
        requests.session.receive(try requests.left.next())
        if let record { record.hasReceived() } else { earlyRequests += 1 }
      } catch {
        requests.session.cancel()
        return fail(GRPCStatus(.invalidArgument, "value \(error.number): \(error.error)"))
      }
      self.requests?.turn.hasExecuted { [unowned self] in
        self.requests?.turn.begin()
        takeRequests()
      }
    }
  }

  // MARK: - From the session

  var backlog: Int {
    if case .open(let socket) = state { socket.backlog } else { 0 }
  }

  func send(_ frame: StreamFrame) {
    guard let socket = begin() else { return }
    socket.send(isChunked ? frame.chunk : frame.line, of: frame.owner)
    record?.hasSentMessage(bytes: frame.line.count)
    place?.hasSent()
  }

  func finish() {
    guard let socket = begin() else { return }
    end(socket)
  }

  func fail(_ status: GRPCStatus) {
    guard case .waiting = state else {
      if let source { send(source.ending(status, hadCredentials: hadCredentials)) }
      record?.ends(status)
      return finish()
    }
    guard let source else { return }
    state = .ended
    leave()
    exchange?.respond(source.refusal(status, hadCredentials: hadCredentials))
  }

  /// The socket. Sends the head of the response first if nothing was sent yet; nil if that is all.
  private func begin() -> TakenOverConnection? {
    switch state {
    case .ended: return nil
    case .open(let socket): return socket
    case .waiting:
      guard let exchange else { return nil }
      if exchange.head.isStrict { headers.append(("Preference-Applied", "handling=strict")) }
      guard exchange.head.method != .head else {
        state = .ended
        leave()
        exchange.respond(headOfStream: contentType, headers: headers)
        return nil
      }
      record = journal.streamBegins(exchange, .http)
      record?.hasReceived(earlyRequests)
      let socket = exchange.takeOver(answering: 200, delegate: self)
      state = .open(socket)
      let head = SocketBytes(exchange.streamHead(contentType, headers: headers))
      socket.send(head.bytes, of: head)
      self.exchange = nil
      headers = []
      return socket
    }
  }

  private func end(_ socket: TakenOverConnection) {
    state = .ended
    record?.ends(GRPCStatus(.ok))
    leave()
    if isChunked { socket.send(SocketBytes.lastChunk.bytes, of: SocketBytes.lastChunk) }
    socket.finish()
  }

  // MARK: - From the handler

  /// The client has disconnected before anything was sent.
  func clientIsGone() {
    state = .ended
    leave()
  }

  /// Releases the source, and ends it at etcd.
  private func leave() {
    record = nil
    let source = source
    self.source = nil
    source?.cancel()
  }
}

extension LineStream: TakenOverConnectionDelegate {
  func socketHasRoom(_ socket: TakenOverConnection) {
    source?.sinkHasRoom()
    takeRequests()
  }

  func socketHasStalled(_ socket: TakenOverConnection, _ reason: StaticString) {
    source?.cancel()
    guard socket.dropQueue() else { return socket.cut() }
    let reason = GRPCStatus(.resourceExhausted, "\(reason)")
    if let source { send(source.ending(reason, hadCredentials: true)) }
    record?.ends(reason)
    // A client that continues to read may take the rest of the last frame and the error; if it stalls again it is cut.
    end(socket)
  }

  func socketIsGone(_ socket: TakenOverConnection) { clientIsGone() }
}

extension LineStream: OpenStream {
  func gatewayStops() {
    if isEndless { stop(GRPCStatus(.unavailable, OpenStreams.stopping)) }
  }

  func expire() { stop(GRPCStatus(.deadlineExceeded, "the time limit of the stream has passed")) }

  private func stop(_ status: GRPCStatus) {
    guard let source else { return }
    source.cancel()
    fail(status)
  }

  func beat() {
    if let frame = source?.heartbeat() { send(frame) }
  }
}
