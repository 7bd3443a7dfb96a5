import ProtobufWire
import Testing

@testable import GrpcBridge

@Suite struct HeldCallsTests {
  private let question = QueueQuestion(.unary, [], timeout: 1) { _ in }

  private func call(_ phase: Call.Phase) -> Call {
    let call = Call(.unary, message: CallMessage(copying: []), timeout: nil, delegate: question)
    call.phase = phase
    return call
  }

  @Test func thoseThatHaveEndedDoNotPileUp() {
    var calls = HeldCalls()
    for _ in 0..<100 { calls.append(call(.loggingIn)) }
    for _ in 0..<10_000 { calls.append(call(.idle)) }
    let all = calls.takeAll()
    #expect(all.count <= 201)
    #expect(all.count { $0.isHeld } == 100)
    #expect(calls.takeAll().isEmpty)
  }
}

@Suite struct VainCallsTests {
  @Test func aFewInARowAreTheEnd() {
    var calls = VainCalls()
    var answers: [Bool] = []
    for _ in 0..<3 {
      calls.begin(at: 5000)
      answers.append(calls.mayFollow(at: 5999))
    }
    #expect(answers == [true, true, false])
  }

  @Test func oneThatWasOfUseBeginsTheCountAnew() {
    var calls = VainCalls()
    for round in 0..<20 {
      calls.begin(at: 5000)
      if round % 2 == 0 { calls.wasOfUse() }
      let mayFollow = calls.mayFollow(at: 5000)
      #expect(mayFollow)
      // It lasts.
      calls.begin(at: 5000)
      let mayFollowLater = calls.mayFollow(at: 6000)
      #expect(mayFollowLater)
    }
  }
}

@Suite struct WatchAssemblerTests {
  /// Parts of a response without end, all of one revision.
  @Test func whatIsHeldHasABound() throws {
    var event: [UInt8] = []
    // `kv` with a revision and a value (`mvccpb/kv.proto`).
    var pair: [UInt8] = []
    pair.append(field: 3, 7)
    pair.append(field: 5, [UInt8](repeating: 1, count: 16 << 20))
    event.append(field: 2, pair)
    var message: [UInt8] = []
    message.append(field: 7, true)
    message.append(field: 11, event)
    let part = try WatchMessage(message)
    #expect(part.isFragment)
    var assembler = WatchAssembler(passesFragments: true)
    var count = 0
    while !assembler.holdsTooMuch && count < 32 {
      let response = assembler.take(part)
      #expect(response == nil)
      count += 1
    }
    #expect(count == 16)
  }
}
