package import EventLoop

/// Connects to an endpoint: finds all its addresses without blocking the loop, and tries them until one answers.
///
/// Follows RFC 8305 (Happy Eyeballs) in its simple form: addresses of both families take turns, the next one is tried
/// as soon as one has failed, or 250 ms after the last one was, and the first to connect wins. Forgets all about it
/// when it is released.
package final class Dialer {
  /// How long an address is alone, in milliseconds (RFC 8305, section 5, "Connection Attempt Delay").
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
  /// Whether the addresses are those of a name: then reasons say which one they are about.
  var isNamed = false
  /// The addresses still to be tried, the next one last.
  private var waiting: [SocketAddress] = []
  private var attempts: [Attempt] = []
  private var failures: [String] = []
  /// Whether any address has failed in another way than by refusing.
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

  /// What it is waiting for, for when patience has run out.
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

  /// Addresses of both families in turn, from the family of the first on; within a family their order stays (RFC 8305,
  /// section 4).
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
