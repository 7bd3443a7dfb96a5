import Foundation
import TLS

/// A response as it came over the wire.
package struct HTTPResponse: Sendable {
  package var head: HTTPHead
  package var body: [UInt8]

  package init(head: HTTPHead, body: [UInt8]) {
    self.head = head
    self.body = body
  }

  package var status: Int { head.status }
  package var text: String { String(decoding: body, as: UTF8.self) }

  /// The body as JSON.
  /// - Throws: an error that says where it is not JSON.
  package var json: JSON { get throws { try JSON(parsing: body) } }

  /// The `code` of an error; nil if the body has none.
  package var code: Int? { (try? json)?["code"]?.number.map { Int($0) } }
  /// The `message` of an error; nil if the body has none.
  package var message: String? { (try? json)?["message"]?.string }

  /// The first header of that name, whatever its case.
  package subscript(header name: String) -> String? { head[name] }
}

extension HTTPResponse: CustomStringConvertible {
  package var description: String { "\(status) \(text)" }
}

/// Status line and headers of a response (RFC 9112, section 4 and 5).
package struct HTTPHead: Sendable {
  package var status: Int
  package var reason: String
  /// In the order and the spelling of the wire.
  package var headers: [(name: String, value: String)]

  /// The first header of that name, whatever its case.
  package subscript(name: String) -> String? {
    headers.first { $0.name.lowercased() == name.lowercased() }?.value
  }

  package init(status: Int, reason: String = "", headers: [(name: String, value: String)]) {
    self.status = status
    self.reason = reason
    self.headers = headers
  }

  /// Parses the lines before the empty one, strictly: a server under test must not be helped.
  init(parsing text: String) throws {
    var lines = text.components(separatedBy: "\r\n")[...]
    let statusLine = lines.popFirst() ?? ""
    let parts = statusLine.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count == 3, parts[0] == "HTTP/1.1" || parts[0] == "HTTP/1.0", let status = Int(parts[1]) else {
      throw HTTPFailure.malformed("status line \(statusLine)")
    }
    self.status = status
    reason = String(parts[2])
    headers = try lines.map { line in
      guard let colon = line.firstIndex(of: ":"), colon != line.startIndex else {
        throw HTTPFailure.malformed("header \(line)")
      }
      let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
      return (String(line[..<colon]), value)
    }
  }
}

/// Why there is no response, or no complete one.
package enum HTTPFailure: Error, Equatable {
  /// Nothing came in time.
  case timedOut
  /// The peer closed the connection before the response was complete.
  case closed
  /// The peer reset the connection.
  case reset
  /// The peer refused the connection.
  case refused
  /// This side has closed the connection.
  case closedHere
  /// The connection ended without TLS's close_notify: the received bytes may be incomplete.
  case truncated
  /// The peer refused this side of the TLS connection, or does not speak TLS.
  case tls(String)
  /// The received bytes are not HTTP.
  case malformed(String)

  /// Whether the peer has ended the connection, in contrast to a timeout.
  package var isCut: Bool { self == .closed || self == .reset || self == .truncated }
}

/// Expects that the peer cuts the connection while `body` sends or receives.
/// - Throws: `TestSupportError` if `body` returns; what `body` throws if that is no cut, such as
///   `HTTPFailure.timedOut`.
package func expectCut<Value>(
  _ what: String = "the answer", isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
) async throws {
  do {
    _ = try await body()
  } catch let failure as HTTPFailure where failure.isCut {
    return
  }
  throw TestSupportError("\(what) was not cut")
}

extension HTTPFailure {
  init(_ error: TLSError) {
    switch error.kind {
    case .truncated: self = .truncated
    case .system: self = .reset
    default: self = .tls(error.description)
    }
  }
}
