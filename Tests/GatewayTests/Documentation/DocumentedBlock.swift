import Foundation
import TestSupport

/// A fenced block of a page (CommonMark, "Fenced code blocks").
struct DocumentedBlock {
  /// The page and the line where its text begins.
  let place: String
  /// The words of its info string: its language, and an option.
  let info: [String]
  let text: String

  var language: String { info.first ?? "" }

  /// README.md and all pages of `docs`.
  static var pages: [String] {
    get throws {
      let names = try FileManager.default.contentsOfDirectory(atPath: "\(packageRoot)/docs")
      return ["README.md"] + names.filter { $0.hasSuffix(".md") }.sorted().map { "docs/\($0)" }
    }
  }

  /// All blocks of a page in their order, without the indentation of a list.
  /// - Throws: `TestSupportError` for a block without an end.
  static func all(in page: String) throws -> [DocumentedBlock] {
    var blocks: [DocumentedBlock] = []
    var open: (indentation: Int, place: String, info: String, text: String)?
    let text = try String(contentsOfFile: "\(packageRoot)/\(page)", encoding: .utf8)
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let indentation = line.prefix { $0 == " " }.count
      guard line.dropFirst(indentation).hasPrefix("```") else {
        let surplus = min(open?.indentation ?? 0, indentation)
        open?.text += line.dropFirst(surplus) + "\n"
        continue
      }
      if let block = open.take() {
        blocks.append(
          DocumentedBlock(
            place: block.place, info: block.info.split(separator: " ").map(String.init), text: block.text))
      } else {
        open = (indentation, "\(page), line \(index + 2)", String(line.dropFirst(indentation + 3)), "")
      }
    }
    if let open { throw TestSupportError("\(open.place): a block without an end") }
    return blocks
  }
}
