import SwiftProtobuf

/// The comments of the `.proto` files, by the full names of the commented items.
struct SchemaComments {
  private var comments: [String: String] = [:]

  init(_ descriptors: Google_Protobuf_FileDescriptorSet) {
    for file in descriptors.file {
      // The paths consist of field numbers and indices (descriptor.proto, `SourceCodeInfo.Location.path`).
      let texts = Dictionary(
        file.sourceCodeInfo.location.lazy.filter(\.hasLeadingComments).map { ($0.path, $0.leadingComments) }
      ) { $1 }
      var collector = Collector(texts: texts)
      for (index, message) in file.messageType.enumerated() {
        collector.collect(message, [4, Int32(index)], in: file.package)
      }
      for (index, definition) in file.enumType.enumerated() {
        collector.collect(definition, [5, Int32(index)], in: file.package)
      }
      for (index, service) in file.service.enumerated() {
        let name = "\(file.package).\(service.name)"
        collector.take([6, Int32(index)], name)
        for (number, method) in service.method.enumerated() {
          collector.take([6, Int32(index), 2, Int32(number)], "\(name).\(method.name)")
        }
      }
      comments.merge(collector.comments) { $1 }
    }
  }

  /// The comment of a message, field, enum, value, service or method; empty if it has none.
  subscript(name: String) -> String { comments[name] ?? "" }

  /// A comment's first sentence, without its period, and the rest.
  func summary(_ name: String) -> (summary: String, rest: String) {
    let text = self[name]
    let utf8 = text.utf8
    let end = utf8.indices.first { index in
      let next = utf8.index(after: index)
      return utf8[index] == UInt8(ascii: ".") && (next == utf8.endIndex || utf8[next] == 0x20 || utf8[next] == 0x0A)
    }
    guard let end else { return (text, "") }
    let rest = text[text.index(after: end)...].drop { $0 == " " || $0 == "\n" }
    return (String(text[..<end]), String(rest))
  }
}

private struct Collector {
  let texts: [[Int32]: String]
  var comments: [String: String] = [:]

  mutating func take(_ path: [Int32], _ name: String) {
    if let text = texts[path] { comments[name] = Self.paragraphs(text) }
  }

  mutating func collect(_ message: Google_Protobuf_DescriptorProto, _ path: [Int32], in scope: String) {
    let name = "\(scope).\(message.name)"
    take(path, name)
    for (index, field) in message.field.enumerated() { take(path + [2, Int32(index)], "\(name).\(field.name)") }
    for (index, oneof) in message.oneofDecl.enumerated() { take(path + [8, Int32(index)], "\(name).\(oneof.name)") }
    for (index, nested) in message.nestedType.enumerated() { collect(nested, path + [3, Int32(index)], in: name) }
    for (index, nested) in message.enumType.enumerated() { collect(nested, path + [4, Int32(index)], in: name) }
  }

  mutating func collect(_ definition: Google_Protobuf_EnumDescriptorProto, _ path: [Int32], in scope: String) {
    let name = "\(scope).\(definition.name)"
    take(path, name)
    for (index, value) in definition.value.enumerated() { take(path + [2, Int32(index)], "\(name).\(value.name)") }
  }

  /// The text with each paragraph on one line and an empty line between them: Markdown, as CommonMark defines it.
  private static func paragraphs(_ comment: String) -> String {
    var paragraphs: [[Substring]] = [[]]
    for line in comment.split(separator: "\n", omittingEmptySubsequences: false) {
      let line = line.drop { $0 == " " }
      if line.isEmpty { paragraphs.append([]) } else { paragraphs[paragraphs.count - 1].append(line) }
    }
    return paragraphs.filter { !$0.isEmpty }.map { $0.joined(separator: " ") }.joined(separator: "\n\n")
  }
}
