// Reads feature flags, keys below flags/, and hears of each change: URL USER PASSWORD.
//
// Prints the flags whenever they change. Wherever the connection breaks it goes on behind the last change that it has
// seen; where that history is gone (410) it reads all flags anew.
//
//   swiftc examples/flags.swift -o flags && ./flags http://127.0.0.1:8379 root rootpw
import Foundation

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

struct Key: Decodable {
  let key: String
  let value: String?
}

struct Page: Decodable {
  let revision: Int64
  let keys: [Key]
  let cursor: String?
}

struct Change: Decodable {
  let type: String
  let key: String
  let value: String?
}

struct Changes: Decodable {
  let revision: Int64
  let events: [Change]
}

struct Refusal: Error {
  let status: Int
  let text: String
}

struct Gateway {
  let url: URL
  let credentials: String

  func ask<Answer: Decodable>(_ path: String, _ query: [String: String]) async throws -> Answer {
    let items = query.map { URLQueryItem(name: $0.key, value: $0.value) }
    var request = URLRequest(url: url.appending(path: path).appending(queryItems: items), timeoutInterval: 60)
    request.setValue("Basic \(credentials)", forHTTPHeaderField: "Authorization")
    let (data, response) = try await URLSession.shared.data(for: request)
    let status = (response as? HTTPURLResponse)?.statusCode ?? 0
    guard status == 200 else { throw Refusal(status: status, text: String(decoding: data, as: UTF8.self)) }
    return try JSONDecoder().decode(Answer.self, from: data)
  }

  func readAll() async throws -> (flags: [String: String], revision: Int64) {
    var page: Page = try await ask("keys", ["prefix": "flags/"])
    let revision = page.revision
    var keys = page.keys
    while let cursor = page.cursor {
      page = try await ask("keys", ["prefix": "flags/", "cursor": cursor])
      keys += page.keys
    }
    return (Dictionary(uniqueKeysWithValues: keys.map { ($0.key, $0.value ?? "") }), revision)
  }
}

/// As JSON, a flag after the other.
func show(_ flags: [String: String]) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  try FileHandle.standardOutput.write(contentsOf: encoder.encode(flags) + Data("\n".utf8))
}

guard CommandLine.arguments.count == 4, let url = URL(string: CommandLine.arguments[1]) else {
  FileHandle.standardError.write(Data("usage: flags URL USER PASSWORD\n".utf8))
  exit(64)
}
let user = "\(CommandLine.arguments[2]):\(CommandLine.arguments[3])"
let gateway = Gateway(url: url, credentials: Data(user.utf8).base64EncodedString())
var (flags, revision) = try await gateway.readAll()
while true {
  try show(flags)
  var changes = Changes(revision: revision, events: [])
  while changes.events.isEmpty {
    do {
      changes = try await gateway.ask("changes", ["prefix": "flags/", "since": "\(revision)", "wait": "30s"])
      revision = changes.revision
    } catch let refusal as Refusal where refusal.status == 410 {
      (flags, revision) = try await gateway.readAll()
      break
    } catch is URLError {
      try await Task.sleep(for: .seconds(1))
    }
  }
  for change in changes.events { flags[change.key] = change.type == "put" ? change.value ?? "" : nil }
}
