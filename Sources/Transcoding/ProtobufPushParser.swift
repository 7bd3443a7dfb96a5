/// Takes a protobuf message apart as it arrives (protobuf documentation, "Encoding"), for those who know the few fields
/// that they want: nothing is copied, and no tree is made of it.
///
/// A field is known by its path: four bits for each field number on the way to it, the outermost first, so that `0x13`
/// is field 3 of the message in field 1. What has a number beyond 15 is passed over, and so is what is not asked for.
package struct ProtobufPushParser {
  package enum Event {
    /// A field that is a number, or a bool.
    case number(path: Int, UInt64)
    /// A field of `length` bytes begins, after which `rest` bytes of its message are left.
    case begin(path: Int, length: Int, rest: Int)
    /// More of the field that has begun; valid as long as the input.
    case bytes(path: Int, UnsafeRawBufferPointer)
    /// A field of bytes, or a message that is gone into, has come to its end.
    case end(path: Int)
  }

  /// The bytes are not a protobuf message.
  package struct Malformed: Error {
    package init() {}
  }

  private struct Level {
    let path: Int
    var left: Int
  }

  /// What is read next.
  private enum Stage {
    case tag
    case number(path: Int)
    case length(path: Int)
    case fixed(count: Int)
    /// A field of bytes, of which so many are left.
    case bytes(path: Int, left: Int)
    case skipped(left: Int)
  }

  private let messages: [Int]
  private var levels: [Level]
  private var stage = Stage.tag
  private var partial: UInt64 = 0
  private var shift: UInt64 = 0
  private var isMalformed = false

  /// - Parameters:
  ///   - length: how long the message is, in bytes.
  ///   - messages: the paths of messages within it that are gone into.
  package init(length: Int, messages: [Int]) {
    self.messages = messages
    levels = [Level(path: 0, left: length)]
  }

  /// To be asked when all bytes were given and all events taken.
  ///
  /// - Throws: ``Malformed`` where they were not a message, or not all of it.
  package func finish() throws(Malformed) {
    guard !isMalformed, case .tag = stage, levels.count == 1, levels[0].left == 0, shift == 0 else { throw Malformed() }
  }

  /// Takes the next event out of `input`; nil where more bytes are needed, there is no more, or what comes is no
  /// message. To be asked until then.
  package mutating func next(_ input: inout UnsafeRawBufferPointer) -> Event? {
    guard !isMalformed else { return nil }
    do throws(Malformed) {
      return try advance(&input)
    } catch {
      isMalformed = true
      return nil
    }
  }

  private mutating func advance(_ input: inout UnsafeRawBufferPointer) throws(Malformed) -> Event? {
    while true {
      switch stage {
      case .bytes(let path, let left):
        if left == 0 {
          stage = .tag
          return .end(path: path)
        }
        guard let bytes = take(left, from: &input) else { return nil }
        stage = .bytes(path: path, left: left - bytes.count)
        return .bytes(path: path, bytes)
      case .skipped(let left):
        if left == 0 {
          stage = .tag
        } else {
          guard let bytes = take(left, from: &input) else { return nil }
          stage = .skipped(left: left - bytes.count)
        }
      case .fixed(let count):
        try spend(count)
        stage = .skipped(left: count)
      case .tag:
        if levels[levels.count - 1].left == 0 && shift == 0 {
          guard levels.count > 1, let level = levels.popLast() else {
            guard input.isEmpty else { throw Malformed() }
            return nil
          }
          return .end(path: level.path)
        }
        guard let tag = try varint(&input) else { return nil }
        try begin(tag)
      case .number(let path):
        guard let value = try varint(&input) else { return nil }
        stage = .tag
        return .number(path: path, value)
      case .length(let path):
        guard let count = try varint(&input) else { return nil }
        guard let length = Int(exactly: count) else { throw Malformed() }
        try spend(length)
        if path == 0 {
          stage = .skipped(left: length)
        } else if messages.contains(path) {
          stage = .tag
          levels.append(Level(path: path, left: length))
        } else {
          stage = .bytes(path: path, left: length)
          return .begin(path: path, length: length, rest: levels[levels.count - 1].left)
        }
      }
    }
  }

  private mutating func begin(_ tag: UInt64) throws(Malformed) {
    let number = tag >> 3
    guard number > 0, number < 1 << 29 else { throw Malformed() }
    // 0 stands for one that has no path.
    let path = number <= 15 ? levels[levels.count - 1].path << 4 | Int(number) : 0
    switch tag & 7 {
    case 0: stage = .number(path: path)
    case 1: stage = .fixed(count: 8)
    case 2: stage = .length(path: path)
    case 5: stage = .fixed(count: 4)
    default: throw Malformed()
    }
  }

  private func take(_ count: Int, from input: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    guard !input.isEmpty else { return nil }
    let bytes = UnsafeRawBufferPointer(rebasing: input.prefix(count))
    input = UnsafeRawBufferPointer(rebasing: input.dropFirst(bytes.count))
    return bytes
  }

  /// Takes so many bytes off what is left of the innermost message.
  private mutating func spend(_ count: Int) throws(Malformed) {
    guard levels[levels.count - 1].left >= count else { throw Malformed() }
    levels[levels.count - 1].left -= count
  }

  /// A varint; nil where it is not complete yet.
  private mutating func varint(_ input: inout UnsafeRawBufferPointer) throws(Malformed) -> UInt64? {
    var index = 0
    while index < input.count {
      let byte = input[index]
      index += 1
      guard shift < 63 || byte <= 1 else { throw Malformed() }
      partial |= UInt64(byte & 0x7f) << shift
      shift += 7
      if byte < 0x80 {
        try spend(index)
        input = UnsafeRawBufferPointer(rebasing: input[index...])
        defer { (partial, shift) = (0, 0) }
        return partial
      }
    }
    try spend(index)
    input = UnsafeRawBufferPointer(rebasing: input[index...])
    return nil
  }
}
