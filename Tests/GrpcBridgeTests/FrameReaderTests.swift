import Testing

@testable import GrpcBridge

/// gRPC's length-prefixed messages, in pieces of any size.
@Suite struct FrameReaderTests {
  private struct Outcome: Equatable {
    var lengths: [Int] = []
    var bytes: [UInt8] = []
    var violations = 0
    var isComplete = false
  }

  /// Reads `input` in pieces of `size` bytes, up to the first violation.
  private func read(_ input: [UInt8], inPiecesOf size: Int) -> Outcome {
    var reader = FrameReader()
    var outcome = Outcome()
    for start in stride(from: 0, to: input.count, by: size) where outcome.violations == 0 {
      Array(input[start..<min(start + size, input.count)]).withUnsafeBytes { piece in
        reader.read(piece) { event in
          switch event {
          case .begin(let length): outcome.lengths.append(length)
          case .bytes(let bytes): outcome.bytes += bytes
          case .violation: outcome.violations += 1
          }
        }
      }
    }
    outcome.isComplete = reader.isComplete
    return outcome
  }

  @Test(arguments: [1, 2, 3, 5, 6, 100])
  func aMessageInPieces(size: Int) {
    let message = Array("hello, etcd".utf8)
    #expect(
      read([0, 0, 0, 0, UInt8(message.count)] + message, inPiecesOf: size)
        == Outcome(lengths: [message.count], bytes: message, isComplete: true))
  }

  @Test(arguments: [1, 5])
  func anEmptyMessageIsComplete(size: Int) {
    #expect(read([0, 0, 0, 0, 0], inPiecesOf: size) == Outcome(lengths: [0], isComplete: true))
  }

  @Test func aMessageCutShortIsNotComplete() {
    #expect(read([0, 0, 0, 0, 3, 1, 2], inPiecesOf: 7) == Outcome(lengths: [3], bytes: [1, 2]))
    #expect(read([0, 0, 0], inPiecesOf: 3) == Outcome())
  }

  @Test func compressionAndSecondMessagesAreViolations() {
    #expect(read([1, 0, 0, 0, 1, 7], inPiecesOf: 6).violations == 1)
    #expect(read([0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0], inPiecesOf: 11).violations == 1)
    #expect(read([0, 0, 0, 0, 1, 7, 0], inPiecesOf: 6).violations == 1)
  }
}
