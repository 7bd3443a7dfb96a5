import EventLoop
import Glibc
import Logging

/// systemd, or another manager that has started the gateway and wants to be notified of its state (sd_notify(3)): by
/// datagrams to the socket that `NOTIFY_SOCKET` names.
struct ServiceManager: Sendable {
  /// The state of the gateway.
  enum State {
    /// `systemctl status` shows the text.
    case serving(String)
    case reloading
    case stopping
  }

  /// How long a datagram may wait for room, in seconds.
  private static let patience = 1
  /// The part of a text that is shown, in bytes.
  private static let maxStatus = 500

  /// Open for as long as the process runs.
  private let descriptor: Int32
  private let address: SocketAddress
  private let logger: Logger
  /// How often the manager is to be notified that all is well, in milliseconds, well before it would end the process;
  /// nil if it does not wait for that.
  let watchdogInterval: UInt64?

  /// - Parameter environment: the environment that the manager has set, by name.
  /// - Returns: nil if there is no manager, or none that can be reached, which is logged.
  init?(environment: (String) -> String?, logger: Logger) {
    guard let name = environment("NOTIFY_SOCKET"), !name.isEmpty else { return nil }
    // Other kinds, such as `vsock:`, are for virtual machines.
    guard ["/", "@"].contains(where: name.hasPrefix),
      let address = name.hasPrefix("@") ? SocketAddress(abstractName: name.dropFirst()) : SocketAddress(unixPath: name)
    else {
      logger.warning("NOTIFY_SOCKET is not the path of a datagram socket")
      return nil
    }
    descriptor = socket(AF_UNIX, SocketConstants.datagram, 0)
    guard descriptor >= 0 else { return nil }
    var patience = timeval(tv_sec: Self.patience, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout.size(ofValue: patience)))
    self.address = address
    self.logger = logger
    // A variable that was inherited from a parent process is meant for that process (sd_watchdog_enabled(3)).
    let isMeant = environment("WATCHDOG_PID").map { $0 == "\(getpid())" } ?? true
    let microseconds = environment("WATCHDOG_USEC").flatMap { UInt64($0) } ?? 0
    watchdogInterval = isMeant && microseconds > 0 ? max(microseconds / 4000, 10) : nil
  }

  /// The manager that has started this process, if it wants to be notified. Its variables are not passed on to
  /// children.
  static func ofEnvironment(logger: Logger) -> ServiceManager? {
    let manager = ServiceManager(environment: { getenv($0).map { String(cString: $0) } }, logger: logger)
    for name in ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"] { unsetenv(name) }
    return manager
  }

  func tell(_ state: State) {
    switch state {
    case .serving(let text): send("READY=1\nSTATUS=\(Self.line(text))")
    case .reloading:
      // By the kernel's clock, so that this notification differs from earlier ones.
      var now = timespec()
      clock_gettime(CLOCK_MONOTONIC, &now)
      send("RELOADING=1\nMONOTONIC_USEC=\(now.tv_sec * 1_000_000 + now.tv_nsec / 1000)\nSTATUS=reloading")
    case .stopping: send("STOPPING=1\nSTATUS=finishing the requests under way")
    }
  }

  /// All threads run. Does not wait for room: the next notification is soon.
  func feedWatchdog() { send("WATCHDOG=1", SocketConstants.dontWait) }

  private func send(_ text: String, _ flags: Int32 = 0) {
    var text = text
    let code = text.withUTF8 { bytes -> Int32 in
      let sent = address.withPointer {
        sendto(descriptor, bytes.baseAddress, bytes.count, SocketConstants.noSignal | flags, $0, $1)
      }
      return sent < 0 ? errno : 0
    }
    guard code != 0 else { return }
    logger.debug("systemd cannot be notified", metadata: ["reason": "\(String(cString: strerror(code)))"])
  }

  /// A text as one line: what follows a line feed would be taken for another message.
  private static func line(_ text: String) -> String {
    var line = ""
    for character in text.unicodeScalars {
      guard line.utf8.count < maxStatus else { break }
      line.unicodeScalars.append(character.value < 0x20 || character.value == 0x7F ? " " : character)
    }
    return line
  }
}

/// Notifies the service manager regularly, as long as all threads run. Belongs to one loop.
///
/// It runs a job on every loop of the process, its own too. If a loop hangs, the manager is not notified, and ends the
/// process.
final class Watchdog {
  typealias Execute = @Sendable (@escaping @Sendable () -> Void) -> Void

  private let manager: ServiceManager
  private let asked: [Execute]
  private let loop: EventLoop
  /// How many loops have yet to answer.
  private var missing = 0
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in ask() }

  /// - Parameters:
  ///   - interval: how often to ask, in milliseconds.
  ///   - asked: runs a job on each loop.
  init(of manager: ServiceManager, loop: EventLoop, every interval: UInt64, asking asked: [Execute]) {
    self.manager = manager
    self.asked = asked
    self.loop = loop
    timer.start(after: 0, every: interval)
  }

  func stop() { timer.stop() }

  private func ask() {
    guard missing == 0 else { return }
    missing = asked.count
    let home = LoopBound(self, loop: loop)
    for execute in asked { execute { home.remote.execute { home.value.hear() } } }
  }

  private func hear() {
    missing -= 1
    if missing == 0 { manager.feedWatchdog() }
  }
}
