import Testing

@testable import HTTPServer

/// The life of a request, without a connection.
@Suite struct ExchangePhaseTests {
  private static let all: [ExchangePhase] = [
    .receiving, .atGate, .admitted, .held, .asking, .awaiting, .answered, .starved, .abandoned,
  ]

  /// An event, the one phase in which it means something, and the phase after it.
  private static let steps: [(event: @Sendable (inout ExchangePhase) -> Bool, from: ExchangePhase, to: ExchangePhase)] =
    [
      ({ $0.leaveGate() }, .atGate, .admitted),
      ({ $0.goOn() }, .admitted, .receiving),
      ({ $0.hold() }, .receiving, .held),
      ({ $0.unhold() }, .held, .receiving),
      ({ $0.complete() }, .receiving, .asking),
      ({ $0.awaitAnswer() }, .asking, .awaiting),
      ({ $0.feed() }, .starved, .answered),
    ]

  /// An event at another time, such as a handler's answer after its client has left, changes nothing.
  @Test(arguments: 0..<7)
  func anEventCountsInItsPhaseAlone(_ number: Int) {
    let step = Self.steps[number]
    for phase in Self.all {
      var after = phase
      let isMeant = step.event(&after)
      #expect(isMeant == (phase == step.from))
      #expect(after == (isMeant ? step.to : phase))
    }
  }

  @Test func aRequestIsAnsweredOnce() {
    for phase in Self.all {
      var after = phase
      let answer = after.answer()
      switch phase {
      case .receiving, .admitted, .asking: #expect(answer == .taken(resumes: false))
      case .atGate, .held, .awaiting: #expect(answer == .taken(resumes: true))
      case .answered, .starved: #expect(answer == .second)
      case .abandoned: #expect(answer == .tooLate)
      }
      if case .taken = answer {
        #expect(after == .answered)
        let second = after.answer()
        #expect(second == .second)
      } else {
        #expect(after == phase)
      }
    }
  }

  /// Exactly those events resume a connection that end a suspension: libmicrohttpd does not accept a second resume.
  @Test func whatIsResumedWasSuspended() {
    for phase in Self.all {
      for event: (inout ExchangePhase) -> Bool in [
        { $0.leaveGate() }, { $0.unhold() }, { $0.feed() }, { $0.answer() == .taken(resumes: true) },
      ] {
        var after = phase
        if event(&after) {
          #expect(phase.isSuspended)
          #expect(!after.isSuspended)
        }
      }
    }
  }

  /// All sequences of events that a client and a handler can cause end, and none suspends a connection for good.
  @Test func everyWayEnds() {
    var phase = ExchangePhase.receiving
    phase.arriveAtGate()
    #expect(phase.isHeldBack && !phase.takesBody && phase.answersEarly)
    let isHeld = phase.leaveGate() && phase.goOn() && phase.hold()
    #expect(isHeld && phase.isHeldBack && phase.takesBody && phase.mayBeginEarly)
    let isAwaiting = phase.unhold() && phase.complete() && phase.awaitAnswer()
    #expect(isAwaiting && !phase.isReceiving && phase.mayBeginEarly && !phase.answersEarly)
    let first = phase.answer()
    #expect(first == .taken(resumes: true))
    phase.starve()
    let isFed = phase.feed()
    #expect(isFed)
    phase.abandon()
    let late = phase.answer()
    #expect(late == .tooLate && !phase.isSuspended)
  }
}
