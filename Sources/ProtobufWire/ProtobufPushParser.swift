/// Parses a protobuf message as it arrives (protobuf documentation, "Encoding"), for callers that know the few fields
/// that they need: nothing is copied, and no tree is made.
///
/// A field is identified by its path: four bits for each field number on the way to it, the outermost first, so that
/// `0x13` is field 3 of the message in field 1. Fields with a number beyond 15 are skipped, and so are messages that
/// the caller does not list.
package struct ProtobufPushParser {
  package enum Event {
    /// A field that is a number, or a bool.
    case number(path: Int, UInt64)
    /// A field of `length` bytes begins, after which `rest` bytes of its message are left.
    case begin(path: Int, length: Int, rest: Int)
    /// More bytes of the field that has begun; valid as long as the input.
    case bytes(path: Int, UnsafeRawBufferPointer)
    /// A field of bytes, or a listed message, has ended.
    case end(path: Int)
  }

  private struct Level {
    let path: Int
    var left: Int
  }

  /// What is parsed next.
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
  private var partial = PartialVarint()
  private var fault: WireError?

  /// - Parameters:
  ///   - length: the length of the message, in bytes.
  ///   - messages: the paths of messages within it whose fields are parsed.
  package init(length: Int, messages: [Int]) {
    self.messages = messages
    levels = [Level(path: 0, left: length)]
  }

  /// To be called when all bytes were given and all events taken.
  ///
  /// - Throws: ``WireError`` if they were not a message, or not a whole one.
  package func finish() throws(WireError) {
    if let fault { throw fault }
    guard case .tag = stage, levels.count == 1, levels[0].left == 0 else { throw .overrun }
  }

  /// Takes the next event out of `input`; nil if more bytes are needed, the message has ended, or the bytes are
  /// malformed. To be called until then.
  package mutating func next(_ input: inout UnsafeRawBufferPointer) -> Event? {
    guard fault == nil else { return nil }
    do throws(WireError) {
      return try advance(&input)
    } catch {
      fault = error
      return nil
    }
  }

  private mutating func advance(_ input: inout UnsafeRawBufferPointer) throws(WireError) -> Event? {
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
        if levels[levels.count - 1].left == 0 {
          guard levels.count > 1, let level = levels.popLast() else {
            guard input.isEmpty else { throw .overrun }
            return nil
          }
          return .end(path: level.path)
        }
        guard let tag = try varint(&input) else { return nil }
        try begin(WireTag(tag))
      case .number(let path):
        guard let value = try varint(&input) else { return nil }
        stage = .tag
        return .number(path: path, value)
      case .length(let path):
        guard let count = try varint(&input) else { return nil }
        guard let length = Int(exactly: count) else { throw .overrun }
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

  private mutating func begin(_ tag: WireTag) throws(WireError) {
    // 0 means that the field has no path.
    let path = tag.number <= 15 ? levels[levels.count - 1].path << 4 | Int(tag.number) : 0
    switch tag.wireType {
    case .varint: stage = .number(path: path)
    case .fixed64: stage = .fixed(count: 8)
    case .lengthDelimited: stage = .length(path: path)
    case .fixed32: stage = .fixed(count: 4)
    // proto3 messages have no groups.
    case .startGroup, .endGroup: throw .malformedTag
    }
  }

  private func take(_ count: Int, from input: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    guard !input.isEmpty else { return nil }
    let bytes = UnsafeRawBufferPointer(rebasing: input.prefix(count))
    input = UnsafeRawBufferPointer(rebasing: input.dropFirst(bytes.count))
    return bytes
  }

  /// Subtracts so many bytes from the rest of the innermost message.
  private mutating func spend(_ count: Int) throws(WireError) {
    guard levels[levels.count - 1].left >= count else { throw .overrun }
    levels[levels.count - 1].left -= count
  }

  /// A varint; nil if it is incomplete.
  private mutating func varint(_ input: inout UnsafeRawBufferPointer) throws(WireError) -> UInt64? {
    let left = levels[levels.count - 1].left
    guard left > 0 else { throw .overrun }
    guard let start = input.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return nil }
    var reader = WireReader(start, start + min(left, input.count), isCut: left > input.count)
    let value = try reader.varint(resuming: &partial)
    let count = reader.at - start
    levels[levels.count - 1].left = left - count
    input = UnsafeRawBufferPointer(rebasing: input[count...])
    return value
  }
}
