/// The state of a request between its head and its end, and what each event does to it. Pure: the methods return what
/// is to be done about the connection.
enum ExchangePhase {
  case receiving
  /// A gate is checking the client, before the body is read.
  case atGate
  /// The gate has let the request go on; libmicrohttpd has not continued it yet.
  case admitted
  /// The rest of the body is held until the handler has room for it.
  case held
  /// The handler is being notified of the end of the request, and may answer during that.
  case asking
  /// The answer is awaited.
  case awaiting
  /// The answer was given and is being sent.
  case answered
  /// The answer is a stream, of which more is awaited.
  case starved
  /// The client has disconnected, or must not be answered any more.
  case abandoned

  /// What becomes of an answer.
  enum Answer: Equatable {
    /// It is the answer; `resumes` says whether the connection has to be resumed.
    case taken(resumes: Bool)
    /// There was one already, which is a bug of the handler.
    case second
    /// The client has disconnected.
    case tooLate
  }

  /// Whether the connection is suspended.
  var isSuspended: Bool {
    switch self {
    case .atGate, .held, .awaiting, .starved: true
    case .receiving, .admitted, .asking, .answered, .abandoned: false
    }
  }

  /// Whether the request is not complete yet.
  var isReceiving: Bool {
    switch self {
    case .receiving, .atGate, .admitted, .held: true
    case .asking, .awaiting, .answered, .starved, .abandoned: false
    }
  }

  /// Whether the body, or the rest of it, is held back.
  var isHeldBack: Bool { self == .atGate || self == .held }

  /// Whether a piece of the body is for the handler: if the body is in chunks, libmicrohttpd passes on what it has read
  /// even while the connection is suspended.
  var takesBody: Bool { self == .receiving || self == .held }

  /// Whether the connection has to be taken over for an answer: libmicrohttpd answers only complete requests.
  var answersEarly: Bool { self == .receiving || isHeldBack }

  /// Whether lines of the answer may go out before its end.
  var mayBeginEarly: Bool { takesBody || self == .awaiting }

  /// The request begins to wait at a gate.
  mutating func arriveAtGate() { self = .atGate }

  /// The gate lets the request go on.
  ///
  /// - Returns: whether the connection is to be resumed.
  mutating func leaveGate() -> Bool { move(from: .atGate, to: .admitted) }

  /// libmicrohttpd continues an admitted request: it repeats the call that it made for the head.
  ///
  /// - Returns: whether this call is that one.
  mutating func goOn() -> Bool { move(from: .admitted, to: .receiving) }

  /// The handler has no room for more of the body.
  ///
  /// - Returns: whether the connection is to be suspended.
  mutating func hold() -> Bool { move(from: .receiving, to: .held) }

  /// The handler has room again.
  ///
  /// - Returns: whether the connection is to be resumed.
  mutating func unhold() -> Bool { move(from: .held, to: .receiving) }

  /// The request is complete.
  ///
  /// - Returns: whether the handler is to be notified of that.
  mutating func complete() -> Bool { move(from: .receiving, to: .asking) }

  /// The handler has been notified.
  ///
  /// - Returns: whether the connection is to be suspended, because there is no answer yet.
  mutating func awaitAnswer() -> Bool { move(from: .asking, to: .awaiting) }

  /// An answer was given.
  mutating func answer() -> Answer {
    switch self {
    case .receiving, .admitted, .asking, .atGate, .held, .awaiting:
      let wasSuspended = isSuspended
      self = .answered
      return .taken(resumes: wasSuspended)
    case .answered, .starved: return .second
    case .abandoned: return .tooLate
    }
  }

  /// A streamed answer has nothing to read for now.
  mutating func starve() { self = .starved }

  /// A streamed answer has something to read again.
  ///
  /// - Returns: whether the connection is to be resumed.
  mutating func feed() -> Bool { move(from: .starved, to: .answered) }

  /// The request ends without an answer, or without the rest of it.
  mutating func abandon() { self = .abandoned }

  private mutating func move(from old: ExchangePhase, to new: ExchangePhase) -> Bool {
    guard self == old else { return false }
    self = new
    return true
  }
}
