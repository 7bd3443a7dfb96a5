import Testing

@testable import GrpcBridge

/// gRPC's length-prefixed messages, in pieces of any size.
@Suite struct FrameReaderTests {
  private struct Outcome: Equatable {
    var lengths: [Int] = []
    var bytes: [UInt8] = []
    var ends = 0
    var violations = 0
    var isComplete = false
  }

  /// Reads `input` in pieces of `size` bytes, up to the first violation.
  private func read(_ input: [UInt8], inPiecesOf size: Int, takesMany: Bool = false) -> Outcome {
    var reader = FrameReader(takesMany: takesMany)
    var outcome = Outcome()
    for start in stride(from: 0, to: input.count, by: size) where outcome.violations == 0 {
      Array(input[start..<min(start + size, input.count)]).withUnsafeBytes { piece in
        var piece = piece
        while outcome.violations == 0, let event = reader.next(&piece) {
          switch event {
          case .begin(let length): outcome.lengths.append(length)
          case .bytes(let bytes): outcome.bytes += bytes
          case .end: outcome.ends += 1
          case .violation: outcome.violations += 1
          }
        }
        #expect(piece.isEmpty || outcome.violations == 1)
      }
    }
    outcome.isComplete = reader.isComplete
    return outcome
  }

  @Test(arguments: [1, 2, 3, 5, 6, 100], [false, true])
  func aMessageInPieces(size: Int, takesMany: Bool) {
    let message = Array("hello, etcd".utf8)
    #expect(
      read([0, 0, 0, 0, UInt8(message.count)] + message, inPiecesOf: size, takesMany: takesMany)
        == Outcome(lengths: [message.count], bytes: message, ends: 1, isComplete: true))
  }

  @Test(arguments: [1, 5])
  func anEmptyMessageIsComplete(size: Int) {
    #expect(read([0, 0, 0, 0, 0], inPiecesOf: size) == Outcome(lengths: [0], ends: 1, isComplete: true))
  }

  @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 100])
  func aStreamHasManyMessages(size: Int) {
    #expect(
      read([0, 0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9], inPiecesOf: size, takesMany: true)
        == Outcome(lengths: [2, 0, 1], bytes: [7, 8, 9], ends: 3, isComplete: true))
  }

  @Test func aMessageCutShortIsNotComplete() {
    #expect(read([0, 0, 0, 0, 3, 1, 2], inPiecesOf: 7) == Outcome(lengths: [3], bytes: [1, 2]))
    #expect(read([0, 0, 0], inPiecesOf: 3) == Outcome())
    #expect(read([0, 0, 0], inPiecesOf: 3, takesMany: true) == Outcome())
    #expect(
      read([0, 0, 0, 0, 0, 0], inPiecesOf: 6, takesMany: true) == Outcome(lengths: [0], ends: 1, isComplete: false))
  }

  @Test func onlyAStreamMayEndWithoutAMessage() {
    #expect(read([], inPiecesOf: 1) == Outcome(isComplete: false))
    #expect(read([], inPiecesOf: 1, takesMany: true) == Outcome(isComplete: true))
  }

  @Test func compressionAndSecondMessagesAreViolations() {
    #expect(read([1, 0, 0, 0, 1, 7], inPiecesOf: 6).violations == 1)
    #expect(read([0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0], inPiecesOf: 11).violations == 1)
    #expect(read([0, 0, 0, 0, 1, 7, 0], inPiecesOf: 6).violations == 1)
    #expect(read([0, 0, 0, 0, 1, 7, 1, 0, 0, 0, 0], inPiecesOf: 11, takesMany: true).violations == 1)
  }
}
