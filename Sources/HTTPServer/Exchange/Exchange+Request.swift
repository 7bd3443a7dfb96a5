internal import CMicrohttpd
package import EventLoop

/// What there is to know of the request.
extension Exchange {
  /// Whether it came in where only metrics and probes are served (`--admin-listen`).
  package var isAdmin: Bool { client.isAdmin }

  /// Where the request came from, to a single address; nil for a Unix socket.
  package var clientAddress: IPAddress? { head.forwarded == nil ? client.address : forwarded.client }

  /// Where the request came from.
  package var peer: Peer { Peer(clientAddress) }

  /// Whether the client speaks TLS, with the gateway itself or with a proxy that is trusted.
  package var isSecure: Bool { (head.forwarded == nil ? nil : forwarded.isSecure) ?? (client.termination != nil) }

  /// The host that the client has asked for, as it was sent; nil if there is none.
  package var host: String? {
    (head.forwarded == nil ? nil : forwarded.host) ?? head.host.map { String(decoding: $0, as: UTF8.self) }
  }

  /// The value of a query parameter, as it was sent; empty if it has none, nil if it is not there.
  package func query(_ name: String) -> String? {
    guard let item = queryItems.first(where: { $0.name.elementsEqual(name.utf8) }) else { return nil }
    return String(decoding: item.value ?? HeadBytes(start: nil, count: 0), as: UTF8.self)
  }

  /// The first header of that name, as it was sent.
  package func header(_ name: String) -> String? {
    firstHeader(name, of: connection).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Whether gzip is among what the client takes (RFC 9110, section 12.5.3).
  package var takesGzip: Bool {
    guard let accepted = header("Accept-Encoding") else { return false }
    return accepted.utf8.listElements.contains { $0.acceptedName?.isNamed("gzip") == true }
  }

  /// The address that the client has for this gateway: `http://HOST:PORT`.
  package var address: String { "\(isSecure ? "https" : "http")://\(host ?? "localhost")" }

  /// The parameters of the query: ``RequestTarget/queryItems``.
  package var queryItems: [(name: HeadBytes, value: HeadBytes?)] { head.target?.queryItems ?? [] }

  /// All headers of the request, as they were sent.
  package var headers: [(name: String, value: String)] {
    var headers: [(name: String, value: String)] = []
    withUnsafeMutablePointer(to: &headers) { headers in
      _ = MHD_get_connection_values_n(
        connection, .HEADER_KIND,
        { headers, _, name, nameSize, value, valueSize in
          headers!.assumingMemoryBound(to: [(name: String, value: String)].self).pointee.append(
            (
              String(decoding: UnsafeRawBufferPointer(start: name, count: nameSize), as: UTF8.self),
              String(decoding: UnsafeRawBufferPointer(start: value, count: valueSize), as: UTF8.self)
            ))
          return .YES
        }, headers)
    }
    return headers
  }
}
