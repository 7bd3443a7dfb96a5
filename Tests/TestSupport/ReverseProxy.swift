import Foundation

/// A reverse proxy of Debian's in front of what a test serves: what it does to requests is what users' proxies do.
/// See `withReverseProxy`.
package struct ReverseProxy: Sendable {
  /// Where it serves: `http://127.0.0.1:PORT`; `https` if it has a certificate.
  package let url: String
  package let process: ChildProcess

  package var http: HTTPClient { HTTPClient(url) }
  /// What the proxy has logged so far.
  package var log: String { process.errorOutput }

  /// The kind of proxy, and its configuration besides the port that it listens on.
  package struct Kind: Sendable, CustomStringConvertible {
    package let description: String
    fileprivate let program: String
    fileprivate let isSecure: Bool
    fileprivate let arguments: @Sendable (_ file: String) -> [String]
    fileprivate let configuration: @Sendable (_ port: UInt16, _ directory: String) -> String
  }
}

extension ReverseProxy.Kind {
  /// nginx.
  /// - Parameters:
  ///   - server: the directives of its one server, such as `location / { proxy_pass http://…; }`.
  ///   - listen: the text after the address in `listen`, such as `ssl` or `proxy_protocol`.
  ///   - http: directives of the `http` block, such as an `upstream`.
  package static func nginx(_ server: String, listen: String = "", http: String = "") -> Self {
    Self(
      description: "nginx", program: "/usr/sbin/nginx", isSecure: listen.contains("ssl"),
      arguments: { ["-p", URL(fileURLWithPath: $0).deletingLastPathComponent().path, "-e", "stderr", "-c", $0] },
      configuration: { port, directory in
        // One process, which dies with the test: a master that is killed leaves its workers.
        """
        daemon off; master_process off; pid \(directory)/pid;
        events { worker_connections 1024; }
        http {
          access_log off;
          client_body_temp_path \(directory)/body; proxy_temp_path \(directory)/proxy;
          fastcgi_temp_path \(directory)/fastcgi; uwsgi_temp_path \(directory)/uwsgi; scgi_temp_path \(directory)/scgi;
          \(http)
          server { listen 127.0.0.1:\(port) \(listen); \(server) }
        }
        """
      })
  }

  /// HAProxy.
  /// - Parameters:
  ///   - sections: the lines of its one frontend, and the sections after it, such as
  ///     `"default_backend gateway\nbackend gateway\nserver one 127.0.0.1:2380"`.
  ///   - bind: the text after the address in `bind`, such as `ssl crt FILE` or `accept-proxy`.
  package static func haproxy(_ sections: String, bind: String = "") -> Self {
    Self(
      description: "HAProxy", program: "/usr/sbin/haproxy", isSecure: bind.contains("ssl"),
      arguments: { ["-db", "-f", $0] },
      configuration: { port, _ in
        """
        global
          noreuseport
        defaults
          mode http
          timeout connect 10s
          timeout client 60s
          timeout server 60s
        frontend tests
          bind 127.0.0.1:\(port) \(bind)
        \(sections)

        """
      })
  }
}

/// Runs `body` with a reverse proxy, which is gone when it returns.
/// - Throws: what `body` throws; `TestSupportError` with the proxy's log if it does not start.
package func withReverseProxy<Value>(
  _ kind: ReverseProxy.Kind, isolation: isolated (any Actor)? = #isolation,
  _ body: (ReverseProxy) async throws -> Value
) async throws -> Value {
  guard access(kind.program, X_OK) == 0 else {
    throw TestSupportError("no \(kind.program): run scripts/install-system-packages test")
  }
  return try await Turnstile.throughProcesses {
    try await withTemporaryDirectory { directory in
      let proxy = try await ReverseProxy.start(kind, in: directory)
      return try await finally {
        try await body(proxy)
      } cleanup: {
        await proxy.process.killAndWait()
      }
    }
  }
}

extension ReverseProxy {
  /// Starts the proxy, on another port if the chosen one is taken by the time it is bound.
  fileprivate static func start(_ kind: Kind, in directory: String) async throws -> ReverseProxy {
    for attempt in 1... {
      let port = try LoopbackPort.pick(1)[0]
      let file = "\(directory)/configuration"
      try kind.configuration(port, directory).write(toFile: file, atomically: true, encoding: .utf8)
      let process = try await ChildProcess.start(
        kind.program, kind.arguments(file), output: "\(directory)/output-\(attempt)",
        error: "\(directory)/log-\(attempt)")
      do {
        _ = try await eventually("\(kind.description) on port \(port)") { () -> Bool? in
          if let exit = process.exited {
            throw TestSupportError("\(kind.description) ended (\(exit)): \(process.errorOutput)")
          }
          return process.listens(on: port) ? true : nil
        }
        return ReverseProxy(url: "\(kind.isSecure ? "https" : "http")://127.0.0.1:\(port)", process: process)
      } catch {
        await process.killAndWait()
        let log = process.errorOutput
        let isPortTaken = log.contains("already in use") || log.contains("cannot bind socket")
        guard isPortTaken && attempt < 5 else { throw error }
      }
    }
    fatalError("the loop above ends by returning or throwing")
  }
}

extension ChildProcess {
  /// Whether the process itself listens on this TCP port: a connection alone might reach another one (proc(5),
  /// `net/tcp`).
  fileprivate func listens(on port: UInt16) -> Bool {
    let files = FileManager.default
    let suffix = String(format: ":%04X", port)
    let inodes = Self.listeningSockets("/proc/\(pid)/net/tcp").compactMap { fields in
      fields[1].hasSuffix(suffix) ? "socket:[\(fields[9])]" : nil
    }
    guard !inodes.isEmpty else { return false }
    let descriptors = (try? files.contentsOfDirectory(atPath: "/proc/\(pid)/fd")) ?? []
    return descriptors.contains { descriptor in
      (try? files.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/\(descriptor)")).map(inodes.contains) ?? false
    }
  }

  /// The lines of a `net/tcp` that are of listening sockets, by fields; of the first 400 at least. They come first.
  /// Thousands of others may follow, of connections that are closed already: for the system to write them, and to parse
  /// them here, took longer than the proxies' start.
  private static func listeningSockets(_ path: String) -> [[Substring]] {
    let begin = try? FileHandle(forReadingAtPath: path)?.read(upToCount: 1 << 16)
    var rest = String(decoding: begin ?? Data(), as: UTF8.self)[...]
    var listening: [[Substring]] = []
    while let end = rest.firstIndex(of: "\n") {
      let fields = rest[..<end].split(separator: " ")
      rest = rest[end...].dropFirst()
      guard fields.count > 9, fields[3] == "0A" || fields[3] == "st" else { break }
      listening.append(fields)
    }
    // The first line has the fields' names.
    return Array(listening.dropFirst())
  }
}
