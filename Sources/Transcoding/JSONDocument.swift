import ByteBuffers

/// A JSON document (RFC 8259) in memory, for a reader that knows its shape: no tree is made of it.
///
/// What can be understood in two ways is an error: a member that occurs twice or is unknown, a value of another type,
/// bytes after the document. `null` means that the member is absent, since many clients write it for what is not set.
/// Every error has the path of the member, such as `then[3].put.key`.
package struct JSONDocument {
  private static let nothing: StaticString = ""

  private var reader: JSONReader

  /// Reads `json` as one document.
  ///
  /// - Parameter read: reads the document's whole value. The document must not be used after it has returned.
  /// - Throws: `TranscodingError`: an error of `read`, or that there are bytes after the value.
  package static func read<Value>(
    _ json: UnsafeRawBufferPointer, _ read: (inout JSONDocument) throws(TranscodingError) -> Value
  ) throws(TranscodingError) -> Value {
    let start = json.baseAddress ?? UnsafeRawPointer(nothing.utf8Start)
    var document = JSONDocument(reader: JSONReader(start.assumingMemoryBound(to: UInt8.self), json.count))
    let value = try read(&document)
    guard !document.reader.skipWhiteSpace() else { throw document.error(.trailingBytes) }
    return value
  }

  /// Reads an object.
  ///
  /// - Parameters:
  ///   - members: the names of its members.
  ///   - read: reads the value of a member that is present and not null.
  package mutating func object<Name>(
    _ members: JSONMembers<Name>, _ read: (inout JSONDocument, Name) throws(TranscodingError) -> Void
  ) throws(TranscodingError) {
    guard try peek() == UInt8(ascii: "{") else { throw error(.expectedObject) }
    var seen: UInt64 = 0
    var hasMore = try run { reader throws(Fault) in try reader.beginObject() }
    while hasMore {
      let text = try run { reader throws(Fault) in try reader.memberName() }
      let offset = reader.offset(of: text.start) - 1
      guard let index = members.table.index(of: text) else {
        throw TranscodingError(
          reason: .unknownField, path: text.excerpt, offset: offset, detail: "expected one of \(members.told)")
      }
      let name = members.names[index]
      guard seen & 1 << index == 0 else {
        throw TranscodingError(reason: .duplicateField, path: name.rawValue, offset: offset)
      }
      seen |= 1 << index
      do throws(TranscodingError) {
        if try peek() == UInt8(ascii: "n") {
          try run { reader throws(Fault) in try reader.literal("null") }
        } else {
          try read(&self, name)
        }
      } catch {
        throw error.within(name.rawValue)
      }
      hasMore = try run { reader throws(Fault) in try reader.nextMember() }
    }
  }

  /// Reads an array.
  ///
  /// - Parameter read: reads an element.
  package mutating func array(
    _ read: (inout JSONDocument) throws(TranscodingError) -> Void
  ) throws(TranscodingError) {
    guard try peek() == UInt8(ascii: "[") else { throw error(.expectedArray) }
    guard try run({ reader throws(Fault) in try reader.beginArray() }) else { return }
    var index = 0
    repeat {
      do throws(TranscodingError) {
        try read(&self)
      } catch {
        throw error.within("[\(index)]")
      }
      index += 1
    } while try run({ reader throws(Fault) in try reader.nextElement() })
  }

  /// Reads a string, as UTF-8.
  package mutating func text() throws(TranscodingError) -> [UInt8] { Self.bytes(try string()) }

  private mutating func string() throws(TranscodingError) -> JSONText {
    guard try peek() == UInt8(ascii: "\"") else { throw error(.expectedString) }
    return try run { reader throws(Fault) in try reader.text() }
  }

  private static func bytes(_ text: JSONText) -> [UInt8] {
    guard text.hasEscapes else { return Array(UnsafeBufferPointer(start: text.start, count: text.count)) }
    return [UInt8](unsafeUninitializedCapacity: text.count) { target, count in
      if let start = target.baseAddress { count = text.unescape(to: start) }
    }
  }

  /// Decodes a string of base64, in either alphabet, padded or not.
  package mutating func base64() throws(TranscodingError) -> [UInt8] {
    let text = try string()
    let offset = reader.offset(of: text.start) - 1
    let characters = Self.bytes(text)
    var count: Int?
    let bytes = [UInt8](unsafeUninitializedCapacity: characters.count) { target, used in
      count = characters.withUnsafeBufferPointer { Base64.decode($0, into: UnsafeMutableRawBufferPointer(target)) }
      used = count ?? 0
    }
    guard count != nil || characters.isEmpty else {
      throw TranscodingError(reason: .invalidBase64, path: "", offset: offset)
    }
    return bytes
  }

  /// Reads `true` or `false`.
  package mutating func bool() throws(TranscodingError) -> Bool {
    let first = try peek()
    let isTrue = first == UInt8(ascii: "t")
    guard isTrue || first == UInt8(ascii: "f") else { throw error(.expectedBool) }
    try run { reader throws(Fault) in try reader.literal(isTrue ? "true" : "false") }
    return isTrue
  }

  /// Reads an integer: a number, or a string, as JavaScript's numbers have only 53 bits.
  ///
  /// - Parameter range: the allowed values.
  package mutating func integer(in range: ClosedRange<Int64>) throws(TranscodingError) -> Int64 {
    let first = try peek()
    let offset = reader.offset
    var number: Int64?
    if first == UInt8(ascii: "\"") {
      let text = try text()
      // No other sign, and no blanks: other forms that `Int64` accepts are no JSON.
      if text.first != UInt8(ascii: "+") { number = Int64(String(decoding: text, as: UTF8.self)) }
    } else if first == UInt8(ascii: "-") || first &- 0x30 < 10 {
      number = try run { reader throws(Fault) in try reader.number() }?.exactly()
    }
    guard let number, range.contains(number) else {
      throw refusal("expected an integer \(range.inWords)", at: offset)
    }
    return number
  }

  /// Whether the next value is a string.
  package mutating func isAtString() throws(TranscodingError) -> Bool { try peek() == UInt8(ascii: "\"") }

  // MARK: - Errors

  /// An error about what was read last.
  ///
  /// - Parameters:
  ///   - reason: what is wrong.
  ///   - offset: the position of the fault; nil for the end of what was read.
  package func refusal(_ reason: String, at offset: Int? = nil) -> TranscodingError {
    TranscodingError(reason: .refused, path: "", offset: offset ?? reader.offset, detail: reason)
  }

  private func error(_ reason: TranscodingError.Reason) -> TranscodingError {
    TranscodingError(reason: reason, path: "", offset: reader.offset)
  }

  private mutating func peek() throws(TranscodingError) -> UInt8 {
    try run { reader throws(Fault) in try reader.peek() }
  }

  private mutating func run<Value>(
    _ step: (inout JSONReader) throws(Fault) -> Value
  ) throws(TranscodingError) -> Value {
    do throws(Fault) {
      return try step(&reader)
    } catch {
      throw TranscodingError(reason: error.reason, path: "", offset: error.offset)
    }
  }
}

extension ClosedRange<Int64> {
  /// The allowed integers in the words of errors.
  package var inWords: String {
    switch (lowerBound, upperBound) {
    case (.min, .max): "of 64 bits"
    case (let lower, .max): "from \(lower) on"
    case (let lower, let upper): "from \(lower) to \(upper)"
    }
  }
}

extension TranscodingError {
  /// The same error, with the member or element `component` before its path.
  package func within(_ component: String) -> TranscodingError {
    let isElement = path.utf8.first == UInt8(ascii: "[")
    return TranscodingError(
      reason: reason, path: path.isEmpty ? component : component + (isElement ? "" : ".") + path, offset: offset,
      detail: detail)
  }
}
