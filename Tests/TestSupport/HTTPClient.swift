import Foundation

/// One request, one connection: for calls that are not about the connection.
package struct HTTPClient: Sendable {
  /// `http://HOST:PORT`, `https://HOST:PORT` or `unix:///PATH`.
  package let url: String

  package init(_ url: String) {
    self.url = url
  }

  package func request(
    _ method: String, _ path: String, user: String? = nil, headers: [(String, String)] = [], body: [UInt8]? = nil,
    timeout: Duration = suiteLimit
  ) async throws -> HTTPResponse {
    let connection = try await HTTPConnection.connect(to: url)
    let response = try await connection.request(
      method, path, headers: headers + basic(user), body: body, timeout: timeout)
    await connection.close()
    return response
  }

  package func get(
    _ path: String, user: String? = nil, headers: [(String, String)] = [], timeout: Duration = suiteLimit
  ) async throws -> HTTPResponse {
    try await request("GET", path, user: user, headers: headers, timeout: timeout)
  }

  /// Posts a body unchanged, with the type that curl's `-d` gives it.
  /// - Parameter user: `NAME:PASSWORD` for `Authorization: Basic`.
  package func post(
    _ path: String, _ body: String = "", user: String? = nil, headers: [(String, String)] = [],
    timeout: Duration = suiteLimit
  ) async throws -> HTTPResponse {
    try await request("POST", path, user: user, headers: headers, body: Array(body.utf8), timeout: timeout)
  }

  package func post(
    _ path: String, _ body: JSON, user: String? = nil, headers: [(String, String)] = [],
    timeout: Duration = suiteLimit
  ) async throws -> HTTPResponse {
    try await post(path, body.description, user: user, headers: headers, timeout: timeout)
  }
}

extension HTTPConnection {
  /// Posts a body on this connection.
  /// - Parameter user: `NAME:PASSWORD` for `Authorization: Basic`.
  package func post(
    _ path: String, _ body: String = "", user: String? = nil, headers: [(String, String)] = [],
    timeout: Duration = suiteLimit
  ) async throws -> HTTPResponse {
    try await request("POST", path, headers: headers + basic(user), body: Array(body.utf8), timeout: timeout)
  }

  package func post(
    _ path: String, _ body: JSON, user: String? = nil, headers: [(String, String)] = [],
    timeout: Duration = suiteLimit
  ) async throws -> HTTPResponse {
    try await post(path, body.description, user: user, headers: headers, timeout: timeout)
  }

  package func get(
    _ path: String, user: String? = nil, headers: [(String, String)] = [], timeout: Duration = suiteLimit
  ) async throws -> HTTPResponse {
    try await request("GET", path, headers: headers + basic(user), timeout: timeout)
  }
}

/// The header of Basic authentication (RFC 7617), if there is a user.
package func basic(_ user: String?) -> [(String, String)] {
  user.map { [("Authorization", "Basic \($0.base64)")] } ?? []
}
