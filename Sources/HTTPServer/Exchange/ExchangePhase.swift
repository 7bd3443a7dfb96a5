/// Where a request is between its head and its end, and what each event means then. Pure: what is to be done about the
/// connection is told by what the methods return.
enum ExchangePhase {
  case receiving
  /// What a gate wants to know about the client is being found out, before the body is read.
  case atGate
  /// The gate has let the request go on; libmicrohttpd has yet to.
  case admitted
  /// More of the body may come when the handler has room for it.
  case held
  /// The handler has been told of the end of the request and is still being asked for its answer.
  case asking
  /// The answer is awaited.
  case awaiting
  /// The answer was given and is being sent.
  case answered
  /// The answer is a stream, of which more is awaited.
  case starved
  /// The client has left, or is not to be answered any more.
  case abandoned

  /// What an answer comes to.
  enum Answer: Equatable {
    /// It is the one; the connection has to be resumed, or is at work.
    case taken(resumes: Bool)
    /// There was one already, which is a fault of the handler's.
    case second
    /// The client has left.
    case tooLate
  }

  /// Whether libmicrohttpd leaves the connection alone.
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

  /// Whether the client has to wait with the body, or with more of it.
  var isHeldBack: Bool { self == .atGate || self == .held }

  /// Whether a piece of the body is for the handler: of a body in chunks libmicrohttpd goes on with what it has read,
  /// suspended or not.
  var takesBody: Bool { self == .receiving || self == .held }

  /// Whether the connection is to be taken over for an answer: libmicrohttpd answers none before it has all of the
  /// request.
  var answersEarly: Bool { self == .receiving || isHeldBack }

  /// Whether lines of the answer may go out before its end.
  var mayBeginEarly: Bool { takesBody || self == .awaiting }

  /// The request waits at a gate from now on.
  mutating func arriveAtGate() { self = .atGate }

  /// The gate lets the request go on.
  ///
  /// - Returns: whether the connection is to be resumed.
  mutating func leaveGate() -> Bool { move(from: .atGate, to: .admitted) }

  /// libmicrohttpd goes on with an admitted request: it asks again what it has asked at the head.
  ///
  /// - Returns: whether that is what it does.
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
  /// - Returns: whether the handler is to be asked for its answer.
  mutating func complete() -> Bool { move(from: .receiving, to: .asking) }

  /// The handler was asked.
  ///
  /// - Returns: whether the connection is to be suspended, as there is no answer yet.
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

  /// There is nothing to read of a streamed answer.
  mutating func starve() { self = .starved }

  /// There is something to read of a streamed answer.
  ///
  /// - Returns: whether the connection is to be resumed.
  mutating func feed() -> Bool { move(from: .starved, to: .answered) }

  /// Nothing more is to be said.
  mutating func abandon() { self = .abandoned }

  private mutating func move(from old: ExchangePhase, to new: ExchangePhase) -> Bool {
    guard self == old else { return false }
    self = new
    return true
  }
}
