package import EventLoop

/// The properties of the request.
extension Exchange {
  /// Whether it came by an address that serves only metrics and probes (`--admin-listen`).
  package var isAdmin: Bool { connection.isAdmin }

  /// The exact address that the request came from; nil for a Unix socket.
  package var clientAddress: IPAddress? { head.forwarded == nil ? connection.address : forwarded.client }

  /// The peer that the request came from.
  package var peer: Peer { Peer(clientAddress) }

  /// Whether the client uses TLS, to the gateway itself or to a trusted proxy.
  package var isSecure: Bool { (head.forwarded == nil ? nil : forwarded.isSecure) ?? connection.hasTLS }

  /// The host in the client's request, as it was sent; nil if there is none.
  package var host: String? {
    (head.forwarded == nil ? nil : forwarded.host) ?? head.host.map { String(decoding: $0, as: UTF8.self) }
  }

  /// The value of a query parameter, as it was sent; empty if it has none, nil if there is no such parameter.
  package func query(_ name: String) -> String? {
    guard let item = queryItems.first(where: { $0.name.elementsEqual(name.utf8) }) else { return nil }
    return String(decoding: item.value ?? HeadBytes(start: nil, count: 0), as: UTF8.self)
  }

  /// The first header of that name, which is given in lower case, as it was sent.
  func header(_ name: StaticString) -> String? {
    connection.fields.first { $0.name.isNamed(name) }.map { String(decoding: $0.value, as: UTF8.self) }
  }

  /// Whether the client accepts gzip (RFC 9110, section 12.5.3).
  package var takesGzip: Bool {
    guard let accepted = header("accept-encoding") else { return false }
    return accepted.utf8.listElements.contains { $0.acceptedName?.isNamed("gzip") == true }
  }

  /// The address by which the client reaches this gateway: `http://HOST:PORT`.
  package var address: String { "\(isSecure ? "https" : "http")://\(host ?? "localhost")" }

  /// The parameters of the query: ``RequestTarget/queryItems``.
  package var queryItems: [(name: HeadBytes, value: HeadBytes?)] { head.target?.queryItems ?? [] }

  /// All headers of the request, as they were sent.
  package var headers: [(name: String, value: String)] {
    connection.fields.map { (String(decoding: $0.name, as: UTF8.self), String(decoding: $0.value, as: UTF8.self)) }
  }
}
