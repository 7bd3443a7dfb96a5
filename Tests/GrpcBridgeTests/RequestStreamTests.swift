import Testing

@testable import GrpcBridge

/// The requests of a stream: read once for each attempt, released once there will be no other.
@Suite struct RequestStreamTests {
  private func read(_ requests: RequestStream, from offset: Int, most: Int = 1 << 20) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: most) { buffer, count in
      count = requests.read(into: UnsafeMutableRawBufferPointer(buffer), from: offset)
    }
  }

  private func append(_ message: [UInt8], to requests: RequestStream) {
    let message = CallMessage(copying: message)
    requests.append(message)
  }

  @Test func messagesFollowOneAnother() {
    let requests = RequestStream()
    append([1, 2], to: requests)
    append([], to: requests)
    #expect(requests.count(from: 0) == 12)
    #expect(read(requests, from: 0, most: 6) == [0, 0, 0, 0, 2, 1])
    #expect(read(requests, from: 6) == [2, 0, 0, 0, 0, 0])
    #expect(read(requests, from: 0) == [0, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 0])
  }

  @Test func offsetsStayWhenBytesAreLetGo() {
    let requests = RequestStream()
    append([1], to: requests)
    requests.release(upTo: 6)
    #expect(requests.count(from: 6) == 0)
    append([2], to: requests)
    #expect(read(requests, from: 6) == [0, 0, 0, 0, 1, 2])

    append([UInt8](repeating: 3, count: 100_000), to: requests)
    requests.release(upTo: 80_000)
    #expect(requests.count(from: 80_000) == 12 + 100_005 - 80_000)
    #expect(read(requests, from: 80_000) == [UInt8](repeating: 3, count: 20_017))
    // Too little to be worth moving the rest: it stays readable.
    requests.release(upTo: 80_010)
    #expect(read(requests, from: 80_010) == [UInt8](repeating: 3, count: 20_007))
  }
}
