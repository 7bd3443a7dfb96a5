import ArgumentParser
import CYaml
import FoundationEssentials
import Glibc

/// Settings in a file (`--config`): YAML with the names of flags, each with a value or a list of values.
///
/// ```yaml
/// endpoints: [http://10.0.0.1:2379, http://10.0.0.2:2379]
/// max-memory: 512M
/// ```
struct ConfigurationFile: Sendable {
  struct Setting: Sendable, Equatable {
    /// The value as on the command line; the values of a list, separated by commas.
    let text: String
    /// The line of the file, from 1 on.
    let line: Int
  }

  /// A file with more bytes is refused.
  private static let maxBytes = 1 << 20

  let path: String
  let settings: [String: Setting]
  private let flags: Set<String>

  /// Reads a file.
  ///
  /// - Parameter flags: the names that settings may have.
  /// - Throws: `ValidationError` with one line that names the file, the line and the fault.
  init(_ path: String, flags: Set<String>) throws(ValidationError) {
    self.path = path
    self.flags = flags
    let bytes = try contents(of: path, for: "config")
    guard bytes.count <= Self.maxBytes else { throw ValidationError("--config: \(path) is larger than 1 MiB") }
    do throws(Fault) {
      settings = try Self.settings(Array(bytes))
      for (name, setting) in settings.sorted(by: { $0.value.line < $1.value.line }) where !flags.contains(name) {
        let hint = flags.nearest(to: name).map { "; did you mean '\($0)'?" } ?? ""
        throw Fault(setting.line, "unknown setting '\(name)'\(hint)")
      }
    } catch {
      throw ValidationError("--config: \(path):\(error.line): \(error.reason)")
    }
  }

  /// The file as it is now.
  ///
  /// - Throws: `ValidationError` with one line that names the file, the line and the fault.
  func readAgain() throws(ValidationError) -> ConfigurationFile { try ConfigurationFile(path, flags: flags) }

  /// The place of a setting, for users.
  func place(of setting: Setting) -> String { "\(path):\(setting.line)" }

  /// The names of the settings that differ in `other`, in their order.
  func changes(in other: ConfigurationFile) -> [String] {
    Set(settings.keys).union(other.settings.keys).filter { settings[$0]?.text != other.settings[$0]?.text }.sorted()
  }
}

// MARK: - YAML

extension ConfigurationFile {
  private struct Fault: Error {
    let line: Int
    let reason: String

    init(_ line: Int, _ reason: String) {
      self.line = line
      self.reason = reason
    }
  }

  private static func settings(_ bytes: [UInt8]) throws(Fault) -> [String: Setting] {
    var events = try events(bytes)[...]
    var settings: [String: Setting] = [:]
    guard let start = events.popFirst() else { return [:] }
    guard case .mapping = start.kind else { throw Fault(start.line, "expected settings, as NAME: VALUE") }
    while let name = events.popFirst() {
      if case .end = name.kind { break }
      guard case .scalar(let text, _) = name.kind else { throw Fault(name.line, "expected the name of a setting") }
      guard settings[text] == nil else { throw Fault(name.line, "'\(text)' occurs twice") }
      settings[text] = Setting(text: try value(of: text, at: name.line, &events), line: name.line)
    }
    if let rest = events.first { throw Fault(rest.line, "a second YAML document begins here") }
    return settings
  }

  private static func value(
    of name: String, at line: Int, _ events: inout ArraySlice<Event>
  ) throws(Fault) -> String {
    guard let first = events.popFirst() else { throw Fault(line, "'\(name)' has no value") }
    switch first.kind {
    case .scalar(let text, let isPlain):
      guard !isPlain || !["", "~", "null"].contains(text) else {
        throw Fault(first.line, "'\(name)' has no value: leave it out for its default")
      }
      return text
    case .sequence:
      var texts: [String] = []
      while let element = events.popFirst() {
        if case .end = element.kind { break }
        guard case .scalar(let text, _) = element.kind, !text.isEmpty, !text.utf8.contains(UInt8(ascii: ",")) else {
          throw Fault(element.line, "'\(name)': expected a list of values without commas")
        }
        texts.append(text)
      }
      guard !texts.isEmpty else { throw Fault(first.line, "'\(name)' is an empty list: leave it out for its default") }
      return texts.joined(separator: ",")
    case .mapping, .end: throw Fault(first.line, "'\(name)': expected a value or a list of values")
    }
  }

  private struct Event {
    enum Kind {
      case scalar(String, isPlain: Bool)
      case sequence
      case mapping
      /// The end of a sequence or a mapping.
      case end
    }

    let kind: Kind
    let line: Int
  }

  /// No setting is deeper than a list. One more level is read, for an error that names the setting.
  private static let maxDepth = 3

  /// libyaml's events for a text, without those for the beginning and end of streams and documents.
  private static func events(_ bytes: [UInt8]) throws(Fault) -> [Event] {
    // On the heap, as libyaml keeps pointers into it.
    let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    defer { parser.deallocate() }
    guard yaml_parser_initialize(parser) == 1 else { throw Fault(1, "out of memory") }
    defer { yaml_parser_delete(parser) }
    let result = bytes.withUnsafeBufferPointer { bytes -> Result<[Event], Fault> in
      yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
      do throws(Fault) { return .success(try events(parser)) } catch { return .failure(error) }
    }
    return try result.get()
  }

  private static func events(_ parser: UnsafeMutablePointer<yaml_parser_t>) throws(Fault) -> [Event] {
    var events: [Event] = []
    var depth = 0
    while true {
      var event = yaml_event_t()
      guard yaml_parser_parse(parser, &event) == 1 else {
        let reason = parser.pointee.problem.map { String(cString: $0) } ?? "it cannot be read"
        throw Fault(Int(parser.pointee.problem_mark.line) + 1, "not valid YAML: \(reason)")
      }
      defer { yaml_event_delete(&event) }
      let line = Int(event.start_mark.line) + 1
      switch event.type {
      case YAML_STREAM_END_EVENT: return events
      case YAML_SCALAR_EVENT:
        let scalar = event.data.scalar
        guard scalar.anchor == nil && scalar.tag == nil else { throw Fault(line, "anchors and tags are not supported") }
        guard
          let text = String(validating: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
        else { throw Fault(line, "not valid UTF-8") }
        events.append(Event(kind: .scalar(text, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE), line: line))
      case YAML_SEQUENCE_START_EVENT, YAML_MAPPING_START_EVENT:
        depth += 1
        // libyaml's time grows with the depth of nested lists.
        guard depth <= maxDepth else { throw Fault(line, "expected a value or a list of values") }
        events.append(Event(kind: event.type == YAML_SEQUENCE_START_EVENT ? .sequence : .mapping, line: line))
      case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT:
        depth -= 1
        events.append(Event(kind: .end, line: line))
      case YAML_ALIAS_EVENT: throw Fault(line, "anchors and tags are not supported")
      default: break
      }
    }
  }
}

/// How large a file named by a flag may be, in bytes.
private let maxFile = 1 << 20

/// The content of a file that a flag names.
///
/// - Throws: `ValidationError` with one line that names the flag, the file and the reason.
func contents(of path: String, for flag: String) throws(ValidationError) -> Data {
  var info = stat()
  guard stat(path, &info) != 0 || info.st_size <= maxFile else {
    throw ValidationError("--\(flag): \(path) has \(info.st_size) bytes, more than the maximum of \(maxFile)")
  }
  do {
    return try Data(contentsOf: URL(filePath: path))
  } catch {
    let code = ((error as? CocoaError)?.underlying as? POSIXError)?.code
    let reason = code.map { ": " + String(cString: strerror($0.rawValue)) } ?? ""
    throw ValidationError("--\(flag): \(path) cannot be read\(reason)")
  }
}
