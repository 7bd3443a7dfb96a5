/// The answer of another server to a request of the gateway's own is read to the same end however its bytes arrive, and
/// has no more in it than has come.
func checkAnswer(_ text: UnsafeRawBufferPointer) {
  var outcomes: [OutgoingAnswerReader.Progress] = []
  for size in [max(1, text.count), 1] {
    var reader = OutgoingAnswerReader(maxBytes: 2048)
    var progress = OutgoingAnswerReader.Progress.unfinished
    var at = 0
    while at < text.count, progress == .unfinished {
      let end = min(at + size, text.count)
      progress = reader.take(UnsafeRawBufferPointer(rebasing: text[at..<end]))
      at = end
    }
    if progress == .unfinished, let answer = reader.end() { progress = .whole(answer) }
    if case .whole(let answer) = progress {
      require((200...599).contains(answer.status), "status \(answer.status)")
      require(answer.body.count <= text.count, "a body of \(answer.body.count) bytes in \(text.count)")
    }
    outcomes.append(progress)
  }
  // Byte by byte an answer may be complete before the bytes come that make the whole too large or malformed.
  guard case .whole = outcomes[1] else {
    if case .malformed = outcomes[1] { return }
    return require(outcomes[0] == outcomes[1], "\(outcomes)")
  }
  if case .whole = outcomes[0] { require(outcomes[0] == outcomes[1], "\(outcomes)") }
}
