package import EventLoop

/// Connects to an endpoint: resolves its name without blocking the loop, and tries its addresses until one accepts.
///
/// Follows RFC 8305 (Happy Eyeballs) in its simple form. Addresses of both families take turns. The next address is
/// tried as soon as an attempt has failed, or 250 ms after the last attempt began, and the first to connect wins. A
/// dialer that is released gives up all attempts.
package final class Dialer {
  /// How many milliseconds after an attempt the next one begins (RFC 8305, section 5, "Connection Attempt Delay").
  private static let delay: UInt64 = 250

  /// Why there is no connection, in one line.
  package struct Failure: Error {
    package let reason: String
    /// Whether every address has refused the connection.
    let isRefusal: Bool
  }

  private final class Attempt {
    let address: SocketAddress
    var socket: StreamSocket?

    init(_ address: SocketAddress) { self.address = address }
  }

  private let loop: EventLoop
  private let endpoint: Endpoint
  private let completion: (Result<StreamSocket, Failure>) -> Void
  /// Whether the addresses are those of a name. Then each failure's text names its address.
  var isNamed = false
  /// The addresses still to be tried, the next one last.
  private var waiting: [SocketAddress] = []
  private var attempts: [Attempt] = []
  private var failures: [String] = []
  /// Whether an attempt has failed for another reason than a refusal.
  private var isUnclear = false
  /// Present if there are several addresses.
  private var stagger: LoopTimer?

  /// - Parameter completion: called at most once, on the loop, perhaps before ``start()`` returns.
  package init(loop: EventLoop, endpoint: Endpoint, completion: @escaping (Result<StreamSocket, Failure>) -> Void) {
    self.loop = loop
    self.endpoint = endpoint
    self.completion = completion
  }

  package func start() {
    if let path = endpoint.path {
      dial(SocketAddress(unixPath: path).map { [$0] } ?? [])
    } else if let address = SocketAddress(numericHost: endpoint.host, port: endpoint.port) {
      dial([address])
    } else {
      isNamed = true
      loop.resolve(host: endpoint.host, port: endpoint.port) { [weak self] result in
        guard let self else { return }
        switch result {
        case .success(let found): dial(found)
        case .failure(let error):
          completion(.failure(Failure(reason: "the name does not resolve: \(error)", isRefusal: false)))
        }
      }
    }
  }

  /// Why there is no connection yet, for the case that the time is up.
  package var trouble: String {
    if isNamed && waiting.isEmpty && attempts.isEmpty { return "the name does not resolve" }
    return (["no connection"] + failures).joined(separator: ", ")
  }

  /// Tries addresses.
  func dial(_ addresses: [SocketAddress]) {
    waiting = Self.order(addresses).reversed()
    if waiting.count > 1 { stagger = LoopTimer(loop: loop) { [unowned self] in connectToNext() } }
    connectToNext()
  }

  /// Addresses of both families in turn, beginning with the family of the first one. Within a family their order stays
  /// (RFC 8305, section 4).
  static func order(_ addresses: [SocketAddress]) -> [SocketAddress] {
    let first = addresses.filter { $0.family == addresses[0].family }
    let others = addresses.filter { $0.family != addresses[0].family }
    return (0..<max(first.count, others.count)).flatMap { index in
      [first, others].compactMap { index < $0.count ? $0[index] : nil }
    }
  }

  private func connectToNext() {
    while let address = waiting.popLast() {
      let attempt = Attempt(address)
      do {
        let socket = try StreamSocket(loop: loop, connectingTo: address) { [unowned self, unowned attempt] _ in
          ended(attempt)
        }
        attempt.socket = socket
        attempts.append(attempt)
        socket.watch(.writable)
        stagger?.start(after: Self.delay)
        return
      } catch {
        note(error, at: address)
      }
    }
    if attempts.isEmpty {
      let reason = failures.isEmpty ? "the name has no address" : failures.joined(separator: ", ")
      completion(.failure(Failure(reason: reason, isRefusal: !isUnclear && !failures.isEmpty)))
    }
  }

  private func ended(_ attempt: Attempt) {
    withExtendedLifetime((self, attempt)) {
      attempts.removeAll { $0 === attempt }
      guard let socket = attempt.socket else { return }
      if let error = socket.connectError {
        note(error, at: attempt.address)
        return connectToNext()
      }
      waiting = []
      attempts = []
      stagger = nil
      completion(.success(socket))
    }
  }

  private func note(_ error: LoopError, at address: SocketAddress) {
    if !error.isRefusal { isUnclear = true }
    failures.append(isNamed ? "\(address): \(error)" : "\(error)")
  }
}
