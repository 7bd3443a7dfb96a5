import ByteBuffers
import Glibc
import GrpcBridge

/// The lines of a body, one after the other, as it comes. A pure structure.
struct BodyLines {
  /// The position of a line.
  struct Place {
    /// The line's number, from 1 on.
    let number: Int
    /// How many bytes of the body precede it.
    let offset: Int
    /// The line's length in bytes, including its end.
    let count: Int
  }

  /// The result of taking a line.
  enum Next<Value> {
    case line(Value)
    /// A line that is too long. The next one to take is the one after it.
    case tooLong(Place)
    /// No complete line has come yet.
    case nothing
  }

  private static let lineFeed: Int32 = 0x0a

  /// How many bytes a line may have without its end.
  private let limit: Int
  private var waiting = ByteQueue(keepsMemory: true)
  /// How many of the waiting bytes are known to have no line feed.
  private var searched = 0
  /// How many lines, and how many bytes, were taken.
  private var number = 0
  private var offset = 0
  /// Whether the waiting bytes belong to a line that was too long.
  private var isSkipping = false
  /// Whether the last line has come, with or without a line feed.
  var hasEnded = false

  /// - Parameter limit: how many bytes a line may have without its end.
  init(limit: Int) { self.limit = limit }

  /// How many bytes wait to be taken.
  var count: Int { waiting.count }

  /// The position of the next line.
  var next: Place { Place(number: number + 1, offset: offset, count: 0) }

  mutating func append(_ bytes: UnsafeRawBufferPointer) { waiting.append(bytes) }

  /// Takes the next line.
  ///
  /// - Parameter read: converts the line, which it gets without its line feed.
  mutating func take<Value>(_ read: (UnsafeRawBufferPointer, Place) -> Value) -> Next<Value> {
    while true {
      let feed = nextLineFeed()
      let length = feed ?? waiting.count
      let whole = length + (feed == nil ? 0 : 1)
      if isSkipping {
        drop(whole)
        guard feed != nil else { return .nothing }
        isSkipping = false
        continue
      }
      guard length <= limit else {
        isSkipping = feed == nil
        return .tooLong(drop(whole, asLine: true))
      }
      guard feed != nil || hasEnded && length > 0 else {
        searched = length
        return .nothing
      }
      let place = Place(number: number + 1, offset: offset, count: whole)
      let value = waiting.withUnsafeBytes { read(UnsafeRawBufferPointer(rebasing: $0[..<length]), place) }
      drop(whole, asLine: true)
      return .line(value)
    }
  }

  /// The position of the next line feed among the waiting bytes.
  private func nextLineFeed() -> Int? {
    waiting.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress, bytes.count > searched,
        let feed = memchr(start + searched, Self.lineFeed, bytes.count - searched)
      else { return nil }
      return UnsafeRawPointer(feed) - start
    }
  }

  @discardableResult
  private mutating func drop(_ count: Int, asLine: Bool = false) -> Place {
    if asLine { number += 1 }
    let place = Place(number: number, offset: offset, count: count)
    waiting.drop(count)
    offset += count
    searched = 0
    return place
  }
}
