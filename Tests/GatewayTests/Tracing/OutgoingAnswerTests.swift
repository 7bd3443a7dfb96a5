import Testing

@testable import Gateway

/// Answers of other servers to the gateway's own requests.
@Suite struct OutgoingAnswerTests {
  /// Reads an answer, whole and byte by byte, with the same result.
  private func read(_ text: String, endsThere: Bool = true) -> OutgoingAnswerReader.Progress {
    var outcomes: [OutgoingAnswerReader.Progress] = []
    for pieces in [[Array(text.utf8)], text.utf8.map { [$0] }] {
      var reader = OutgoingAnswerReader(maxBytes: 1000)
      var progress = OutgoingAnswerReader.Progress.unfinished
      for piece in pieces where progress == .unfinished { progress = piece.withUnsafeBytes { reader.take($0) } }
      if progress == .unfinished, endsThere, let answer = reader.end() { progress = .whole(answer) }
      outcomes.append(progress)
    }
    #expect(outcomes[0] == outcomes[1], "\(text)")
    return outcomes[0]
  }

  private func answer(_ text: String) -> OutgoingAnswer? {
    if case .whole(let answer) = read(text) { answer } else { nil }
  }

  @Test func whereAnAnswerEnds() throws {
    #expect(answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")?.body == Array("{}".utf8))
    #expect(answer("HTTP/1.0 503 No\r\nretry-after:\t 7 \r\n\r\nbusy")?["retry-after"] == "7")
    #expect(answer("HTTP/1.1 200 OK\r\n\r\nall of it")?.body == Array("all of it".utf8))
    #expect(answer("HTTP/1.1 204\r\nContent-Length: 5\r\n\r\n")?.status == 204)
    let chunked = try #require(
      answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5;x=y\r\n0\r\n\r\n\r\n0\r\n\r\n"))
    #expect(chunked.body == Array("abc0\r\n\r\n".utf8))
  }

  @Test(
    arguments: [
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "HTTP/1.1 200 OK\r\nContent-Le",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "HTT", "",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n0\r\n\r\n",
    ])
  func whatIsNoWholeAnswer(_ text: String) { #expect(read(text) == .unfinished) }

  @Test(
    arguments: [
      "SSH-2.0-x\r\n", "\r\n\r\n\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1\r\n\r\n",
      "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
      "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "a", count: 2000),
    ])
  func whatIsNone(_ text: String) {
    guard case .malformed = read(text) else {
      Issue.record("\(text)")
      return
    }
  }
}
