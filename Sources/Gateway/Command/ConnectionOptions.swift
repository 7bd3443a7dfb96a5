import ArgumentParser
import HTTPServer

/// The flags for the number and the time limits of clients' connections.
struct ConnectionOptions: ParsableArguments {
  @Option(help: "How many client connections may be open. (default: 10000)")
  var maxConnections: Int?

  @Option(
    help: """
      How many connections one client address may have open; an IPv6 network of 64 bits counts as one address. More \
      get 429, or with TLS are closed. Unix sockets and --trusted-proxies have no limit. (default: half of \
      --max-connections; no limit for loopback addresses)
      """)
  var maxConnectionsPerAddress: Int?

  @Option(
    help: ArgumentHelp(
      "When to close a connection without a request or progress. (default: 2m)", valueName: "time"),
    transform: TimeSpan.read)
  var idleTimeout: TimeSpan?

  @Option(
    help: ArgumentHelp(
      """
      How long the whole head of a request may take, from its first byte on, before 408. (default: 10s)
      """, valueName: "time"), transform: TimeSpan.read)
  var headerTimeout: TimeSpan?

  @Option(
    help: """
      How many bytes of a request's body must arrive in a second, on average over each 10 s, or else 408; 0 for any \
      rate. (default: 1024)
      """)
  var minBodyRate: Int?

  /// Sets the limits of a server in `limits`, which already has the trusted proxies.
  ///
  /// - Parameter shards: how many servers share the common limits.
  /// - Throws: `ValidationError` with one line that names the flag and the values that it accepts.
  func apply(to limits: inout HTTPServer.Limits, shards: Int, _ environment: CommandEnvironment) throws {
    let most = try environment.number(maxConnections, "max-connections", default: limits.connections, in: 1...1_000_000)
    limits.connections = (most + shards - 1) / shards
    let flag = "max-connections-per-address"
    let isGiven = maxConnectionsPerAddress != nil || environment[flag] != nil
    let perAddress = try environment.number(
      maxConnectionsPerAddress, flag, default: max(1, most / 2), in: 1...1_000_000)
    // A proxy has the connections of many clients.
    limits.addresses = AddressCounts(most: perAddress) { [proxies = limits.proxies] in
      (!isGiven && $0.isLoopback) || proxies.contains($0)
    }
    // libmicrohttpd counts milliseconds in 32 bits.
    let idle = (try environment.time(idleTimeout, "idle-timeout", default: UInt64(limits.idleTimeout)) + 999) / 1000
    limits.idleTimeout = UInt32(min(idle, 4_000_000))
    limits.clock.head = try environment.time(headerTimeout, "header-timeout", default: limits.clock.head / 1000)
    limits.clock.bodyRate = try environment.number(
      minBodyRate, "min-body-rate", default: limits.clock.bodyRate, in: 0...(1 << 30))
  }
}

extension CommandEnvironment {
  /// The value of a flag that takes a number.
  ///
  /// - Throws: `ValidationError` if it is not within `range`.
  func number(_ given: Int?, _ flag: String, default standard: Int, in range: ClosedRange<Int>) throws -> Int {
    let value = try value(given, flag, default: standard)
    guard range.contains(value) else {
      throw ValidationError("--\(flag) must be from \(range.lowerBound) to \(range.upperBound), not \(value)")
    }
    return value
  }

  /// The value of a flag that takes a time, in milliseconds.
  ///
  /// - Throws: `ValidationError` if it is 0, or less than the minimum.
  func time(_ given: TimeSpan?, _ flag: String, default seconds: UInt64, atLeast least: UInt64 = 0) throws -> UInt64 {
    let span = try value(given, flag, default: TimeSpan(milliseconds: seconds * 1000))
    guard span.milliseconds > 0 else { throw ValidationError("--\(flag) must be more than 0") }
    guard span.milliseconds >= least * 1000 else { throw ValidationError("--\(flag) must be at least \(least)s") }
    return span.milliseconds
  }
}
