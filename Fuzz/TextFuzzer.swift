/// Any bytes as text from clients, proxies and other servers. The first byte chooses the parser. Nothing crashes;
/// accepted text means the same after it is written and read once more.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzText(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let start, count > 0 else { return 0 }
  // A copy, so that AddressSanitizer notices a read beyond it.
  let input = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
  input.withUnsafeBufferPointer { text in
    switch start[0] & 15 == 15 ? 15 : start[0] & 7 {
    case 0: checkTransaction(UnsafeRawBufferPointer(text))
    case 1: checkPut(UnsafeRawBufferPointer(text))
    case 2: checkTarget(text)
    case 3: checkEventID(text)
    case 4: checkPercentEncoding(text)
    case 5: checkLists(text)
    case 6: checkForwarded(text)
    case 15: checkAnswer(UnsafeRawBufferPointer(text))
    default: checkProxy(UnsafeRawBufferPointer(text))
    }
  }
  return 0
}

// MARK: - Plain JSON

private let maxOperations = 20

/// An accepted transaction is a message with as many operations as the shape of the answer.
private func checkTransaction(_ json: UnsafeRawBufferPointer) {
  var message = ByteBuffer()
  let shape: TxnShape
  do throws(TranscodingError) {
    shape = try TxnReader.read(json, into: &message, most: maxOperations)
  } catch {
    return require(error.offset <= json.count && !error.description.isEmpty, "a fault beyond the end: \(error)")
  }
  message.withUnsafeBytes { message in
    let left = checkTransaction(message, 0..<message.count, shape, left: maxOperations)
    require(left >= 0, "more than \(maxOperations) operations: \(Array(message))")
  }
}

/// How many of `left` operations are yet to come.
private func checkTransaction(
  _ message: UnsafeRawBufferPointer, _ range: Range<Int>, _ shape: TxnShape, left: Int
) -> Int {
  var left = left
  var then = shape.then[...]
  var otherwise = shape.otherwise[...]
  for field in fields(message, range) {
    left -= 1
    let operation: TxnShape.Operation?
    switch field.number {
    case 1: continue
    case 2: operation = then.popFirst()
    case 3: operation = otherwise.popFirst()
    default: fatalError("a field \(field.number) of a transaction")
    }
    let requests = fields(message, field.content)
    require(requests.count == 1, "\(requests.count) requests in an operation")
    guard let request = requests.first, let operation else { fatalError("an operation that has no answer") }
    switch (operation, request.number) {
    case (.getKey, 1), (.getKeys, 1), (.put, 2), (.delete, 3):
      require(fields(message, request.content).contains { $0.number == 1 }, "an operation without a key")
    case (.txn(let shape), 4): left = checkTransaction(message, request.content, shape, left: left)
    default: fatalError("\(operation) is field \(request.number)")
    }
  }
  require(then.isEmpty && otherwise.isEmpty, "fewer operations than answers")
  return left
}

private func fields(_ message: UnsafeRawBufferPointer, _ range: Range<Int>) -> [ProtobufPullParser.Field] {
  var parser = ProtobufPullParser(message, in: range)
  var fields: [ProtobufPullParser.Field] = []
  do throws(WireError) {
    while let field = try parser.next() { fields.append(field) }
  } catch {
    fatalError("what is written is no message: \(error)")
  }
  return fields
}

/// A put has the size that it says, in a request of its own and in a line of an import.
private func checkPut(_ json: UnsafeRawBufferPointer) {
  checkPut(json, as: .request)
  checkPut(json, as: .line)
}

private func checkPut(_ json: UnsafeRawBufferPointer, as place: KeyPut.Place) {
  do throws(TranscodingError) {
    let (put, value) = try JSONDocument.read(json) { json throws(TranscodingError) in
      try KeyPut.read(&json, as: place)
    }
    require(!put.key.isEmpty, "an empty key")
    require(place == .request || put.ttl == nil && put.condition == nil, "a line with a condition")
    if let ttl = put.ttl { require(ttl > 0 && put.lease == 0, "a time to live of \(ttl)") }
    var message = ByteBuffer()
    value.withUnsafeBytes { value in
      put.write(value, to: &message)
      require(message.count == put.wireCount(of: value), "\(message.count) bytes, not \(put.wireCount(of: value))")
    }
  } catch {
    require(error.offset <= json.count && !error.description.isEmpty, "a fault beyond the end: \(error)")
  }
}

// MARK: - Targets: paths, queries, cursors

/// A target for `/keys`; the cursor of a page of it leads exactly to where that page has ended.
private func checkTarget(_ text: HeadBytes) {
  guard let target = RequestTarget(text) else { return }
  for method in [HTTPMethod.get, .put, .delete, .post] {
    let head = RequestHead(path: target.path, method: method, hasLines: method == .post)
    guard let request = try? KeyRequest(Exchange(head: head, queryItems: target.queryItems)) else { continue }
    _ = KeySelection(request).message()
    guard request.operation == .listKeys else { continue }
    do throws(RequestError) {
      if let cursor = try PageCursor(of: request) {
        switch cursor.place {
        case .behind(let key): require(request.range.contains(Bytes(key)), "\(cursor)")
        case .from(let end, let skip):
          require(skip >= 0 && (end.isEmpty || request.range.contains(Bytes(end))), "\(cursor)")
        }
        var selection = KeySelection(request)
        require(cursor.revision > 0 && selection.advance(to: cursor.place) >= 0, "\(cursor)")
      }
    } catch {
      require(error.status == 400 && error.message.utf8.starts(with: "cursor: ".utf8), error.message)
    }
    checkCursor(of: request, target)
  }
}

private func checkCursor(of request: KeyRequest, _ target: RequestTarget) {
  guard request.range.contains(request.range.start) else { return }
  var pageEnd = PageEnd()
  request.range.start.array.withUnsafeBytes { pageEnd.note($0) }
  let place = pageEnd.next(in: request.range, of: request.range, isDescending: false)
  let cursor = PageCursor(revision: 42, count: 7, place: place)
  let name = Array("cursor".utf8)
  let value = Array(cursor.text(for: request.query).utf8)
  name.withUnsafeBufferPointer { name in
    value.withUnsafeBufferPointer { value in
      let items = target.queryItems.filter { KeyQuery.name(of: $0.name) != "cursor" } + [(name: name, value: value)]
      guard let next = try? KeyRequest(Exchange(head: RequestHead(path: target.path), queryItems: items)),
        let again = try? PageCursor(of: next)
      else { fatalError("a page has no next one: \(cursor.text(for: request.query))") }
      require(again.revision == 42 && again.count == 7 && again.place == cursor.place, "another page: \(again)")
    }
  }
}

// MARK: - Event ids

private func checkEventID(_ text: HeadBytes) {
  guard let start = try? WatchStart(since: nil, lastEventID: text) else { return }
  require(start.isReturn != text.isEmpty, "a return without an id")
  guard start.isReturn, let revision = start.revision else { return }
  require(revision >= 0 && start.skipped >= 0 && start.firstRevision > 0, "\(start)")
  let id = start.skipped == 0 ? "\(revision)" : "\(revision + 1)-\(start.skipped)"
  Array(id.utf8).withUnsafeBufferPointer { id in
    guard let again = try? WatchStart(since: nil, lastEventID: id) else { fatalError("no id: \(start)") }
    require(again.revision == revision && again.skipped == start.skipped, "\(again), \(start)")
  }
}

// MARK: - Percent encoding

private func checkPercentEncoding(_ text: HeadBytes) {
  let repaired = percentDecoded(text)
  if let decoded = PercentEncoding.decode(text) {
    require(decoded.count <= text.count, "\(decoded.count) bytes of \(text.count)")
    require(repaired == String(decoding: decoded, as: UTF8.self), "another text: \(repaired)")
  }
  let hex = Array("0123456789abcdef".utf8)
  let encoded = text.flatMap { [UInt8(ascii: "%"), hex[Int($0 >> 4)], hex[Int($0 & 15)]] }
  encoded.withUnsafeBufferPointer { encoded in
    for decoded in [PercentEncoding.decode(encoded), PercentEncoding.decode(form: encoded)] {
      require(decoded.map { $0.elementsEqual(text) } == true, "other bytes: \(String(describing: decoded))")
    }
  }
}

// MARK: - Lists in headers

/// Lists may continue in the next line, and blanks around their elements make no difference (RFC 9110, section 5.6.1).
private func checkLists(_ text: HeadBytes) {
  _ = Preference.isStrict(text)
  let comma = UInt8(ascii: ",")
  // A comma in quotes is part of a tag (RFC 9110, section 8.8.3).
  var isQuoted = false
  let elements = text.split(omittingEmptySubsequences: false) { byte in
    if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
    return byte == comma && !isQuoted
  }
  let spaced = Array(elements.map { [0x20] + $0 + [0x09] }.joined(separator: [comma]))
  spaced.withUnsafeBufferPointer { spaced in
    require(MediaType(firstIn: text) == MediaType(firstIn: spaced), "blanks make another type")
    let tags = tagsOf([text])
    require(tags == tagsOf([spaced]), "blanks make other tags")
    guard let tags, tags != ["*"], elements.count > 1 else { return }
    let lines = elements.map { HeadBytes(rebasing: $0) }
    require(tags == tagsOf(lines), "lines make other tags")
  }
}

/// The meaning of a condition; nil if it is malformed.
private func tagsOf(_ lines: [HeadBytes]) -> [String]? {
  switch try? TagCondition(lines, "If-Match") {
  case nil: nil
  case .any: ["*"]
  case .tags(let tags): tags.map { "\($0.isWeak) \(String(describing: $0.revision))" }
  }
}
