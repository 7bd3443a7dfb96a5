/// Any bytes as the head of a request, read as laxly as libmicrohttpd 0.9.75 does (connection.c:
/// `get_next_header_line`, `parse_initial_message_line`, `process_header_line`, `process_broken_line`). If the check
/// accepts a head, a reader that strictly follows RFC 9112 reads the same request: the same fields, and the same end.
/// If the line ends were not seen, or there is only the request line, some bytes may have been taken for CRLF, and the
/// request is its connection's last one.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHead(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = Array(UnsafeBufferPointer(start: start, count: count))
  let reader = LaxReader(input)
  defer { reader.deallocate() }
  guard let head = reader.read() else { return 0 }
  _ = RequestTarget(head.target)?.queryItems
  let start = reader.offset(of: head.method.baseAddress!)
  let bytes = input[start..<reader.offset(of: head.end)]
  if isAccepted(head, head.lineEnds) && !head.fields.isEmpty {
    requireEqual(head, StrictReader(bytes, acceptsNUL: false))
  }
  if isAccepted(head, .unseen) {
    require(isEnd(Array(bytes.suffix(4))), "the head has another end")
    requireEqual(head, StrictReader(bytes.dropLast(4) + [13, 10, 13, 10], acceptsNUL: true))
  }
  return 0
}

private func isAccepted(_ head: LaxReader.Head, _ lineEnds: LineEnds) -> Bool {
  var check = HeadCheck(method: head.method, target: head.target, version: head.version, lineEnds: lineEnds)
  for field in head.fields { check.take(name: field.name, value: field.value) }
  check.finish(end: head.end)
  return check.fault == nil
}

private func requireEqual(_ head: LaxReader.Head, _ reader: StrictReader) {
  var reader = reader
  guard let strict = reader.read() else { fatalError("no request for a strict reader") }
  let fields = head.fields.map { (Array($0.name), Array($0.value.trimmed)) }
  require(fields.elementsEqual(strict) { $0 == $1 }, "other fields")
}

/// Whether these are two line ends, or bytes that are known to have the same length and NULs.
private func isEnd(_ bytes: [UInt8]) -> Bool {
  guard bytes.count == 4, bytes[3] == 10, let lineFeed = bytes.dropLast().firstIndex(of: 10) else { return false }
  let (first, second) = (bytes[..<lineFeed], bytes[(lineFeed + 1)..<3])
  return (first.isEmpty || first == [13] || first.first == 0)
    && (second.isEmpty || second == [13] || second.first == 0 || second.first == 58)
}

/// As lax as libmicrohttpd 0.9.75 with `STRICT_FOR_CLIENT` 0.
private final class LaxReader {
  struct Head {
    var method, target, version: HeadBytes
    var fields: [(name: HeadBytes, value: HeadBytes)] = []
    var lineEnds = LineEnds.unseen
    var end: UnsafePointer<UInt8>
  }

  private let buffer: UnsafeMutablePointer<UInt8>
  private let count: Int
  private var position = 0
  /// Names that folded lines were appended to: libmicrohttpd moves them.
  private var moved: [UnsafeMutablePointer<UInt8>] = []

  init(_ bytes: [UInt8]) {
    count = bytes.count
    buffer = .allocate(capacity: max(1, count))
    buffer.initialize(from: bytes, count: count)
  }

  func deallocate() {
    buffer.deallocate()
    moved.forEach { $0.deallocate() }
  }

  func offset(of pointer: UnsafePointer<UInt8>) -> Int { pointer - UnsafePointer(buffer) }

  /// The beginning and length of the next line; its end is NUL then.
  private func line() -> (start: Int, length: Int)? {
    let start = position
    var index = start
    while index < count {
      if buffer[index] == 13, index + 1 < count, buffer[index + 1] == 10 {
        (buffer[index], buffer[index + 1], position) = (0, 0, index + 2)
        return (start, index - start)
      }
      if buffer[index] == 10 {
        (buffer[index], position) = (0, index + 1)
        return (start, index - start)
      }
      index += 1
    }
    return nil
  }

  private func text(_ start: Int) -> HeadBytes {
    var end = start
    while end < count && buffer[end] != 0 { end += 1 }
    return HeadBytes(start: buffer + start, count: end - start)
  }

  func read() -> Head? {
    var first = line()
    while let empty = first, buffer[empty.start] == 0 { first = line() }
    guard let first, var head = requestLine(first.start, first.length) else { return nil }
    head.lineEnds = LineEnds(of: UnsafeRawBufferPointer(start: buffer + position, count: count - position))
    var pending: (name: HeadBytes, value: HeadBytes)?
    while let next = line() {
      guard let last = pending else {
        if buffer[next.start] == 0 { return ended(head) }
        guard let field = field(next.start) else { return nil }
        pending = field
        continue
      }
      if buffer[next.start] == 32 || buffer[next.start] == 9 {
        pending = (folded(last.name, text(next.start)), last.value)
        continue
      }
      head.fields.append(last)
      if buffer[next.start] == 0 { return ended(head) }
      guard let field = field(next.start) else { return nil }
      pending = field
      // If a line began with its colon, it begins with NUL now, and is taken for the empty line.
      if buffer[next.start] == 0 { return ended(head) }
    }
    return nil
  }

  private func ended(_ head: Head) -> Head {
    var head = head
    head.end = UnsafePointer(buffer + position)
    return head
  }

  private func requestLine(_ start: Int, _ length: Int) -> Head? {
    let end = start + length
    guard let blank = (start..<end).first(where: { buffer[$0] == 32 }) else { return nil }
    buffer[blank] = 0
    var target = blank + 1
    while target < end && buffer[target] == 32 { target += 1 }
    guard target < end, let last = (target..<end).last(where: { buffer[$0] == 32 }), end - last == 9 else { return nil }
    buffer[last] = 0
    let version = HeadBytes(start: buffer + last + 1, count: 8)
    guard version.starts(with: "HTTP/1.".utf8), (0x30...0x39).contains(version[7]) else { return nil }
    return Head(method: text(start), target: text(target), version: version, end: UnsafePointer(buffer))
  }

  private func field(_ start: Int) -> (name: HeadBytes, value: HeadBytes)? {
    guard let colon = text(start).firstIndex(of: 58) else { return nil }
    buffer[start + colon] = 0
    var value = start + colon + 1
    while value < count && (buffer[value] == 32 || buffer[value] == 9) { value += 1 }
    return (HeadBytes(start: buffer + start, count: colon), text(value))
  }

  private func folded(_ name: HeadBytes, _ line: HeadBytes) -> HeadBytes {
    let joined = Array(name) + line.drop { $0 == 32 || $0 == 9 }
    let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: joined.count + 1)
    copy.initialize(from: joined, count: joined.count)
    moved.append(copy)
    return HeadBytes(start: copy, count: joined.count)
  }
}

/// Strict, except that NUL and LF may stand for CRLF if `acceptsNUL`.
private struct StrictReader {
  private var rest: ArraySlice<UInt8>
  private let acceptsNUL: Bool

  init(_ bytes: ArraySlice<UInt8>, acceptsNUL: Bool) {
    rest = bytes
    self.acceptsNUL = acceptsNUL
  }

  /// The next line; nil if it has no end.
  private mutating func line() -> ArraySlice<UInt8>? {
    guard let lineFeed = rest.firstIndex(of: 10), lineFeed > rest.startIndex else { return nil }
    let mark = rest[lineFeed - 1]
    let line = rest[..<(lineFeed - 1)]
    guard mark == 13 || mark == 0 && acceptsNUL else { return nil }
    rest = rest[(lineFeed + 1)...]
    return line.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 9 }) ? line : nil
  }

  mutating func read() -> [([UInt8], [UInt8])]? {
    guard let request = line(), request.split(separator: 32, omittingEmptySubsequences: false).count == 3 else {
      return nil
    }
    var fields: [([UInt8], [UInt8])] = []
    while let line = line() {
      if line.isEmpty { return fields }
      guard let colon = line.firstIndex(of: 58), colon > line.startIndex, line[..<colon].allSatisfy(HeadCheck.isToken)
      else { return nil }
      let value = line[(colon + 1)...].drop { $0 == 32 || $0 == 9 }
      let end = value.lastIndex { $0 != 32 && $0 != 9 }.map { $0 + 1 } ?? value.startIndex
      fields.append((Array(line[..<colon]), Array(value[..<end])))
    }
    return nil
  }
}
