import EventLoop
import Foundation
import Logging
import Synchronization
import TestSupport
import Testing

@testable import Gateway

/// The gateway's notifications of systemd (sd_notify(3)).
@Suite(.timeLimit(.minutes(10)))
struct ServiceManagerTests {
  private static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private static func manager(_ environment: [String: String]) -> ServiceManager? {
    ServiceManager(environment: { environment[$0] }, logger: silent)
  }

  /// A whole life: each state once, in order, and watchdog messages in between.
  @Test(arguments: ["/notify", "@etcd-rest-\(UUID())"])
  func aLifeIsTold(_ name: String) async throws {
    try await withTemporaryDirectory { folder in
      let name = name.hasPrefix("/") ? folder + name : name
      let socket = try NotifySocket(name)
      let path = "\(folder)/etcd-rest.yaml"
      try "log-level: info\n".write(toFile: path, atomically: true, encoding: .utf8)
      try await withGateway(
        ["http://127.0.0.1:1"], ["--config", path],
        environment: ["NOTIFY_SOCKET": name, "WATCHDOG_USEC": "2000000"]
      ) { gateway in
        let serving = "READY=1\nSTATUS=etcd-rest 0.1.0 is serving on \(gateway.url)"
        _ = try await eventually("word that it serves") { socket.states.isEmpty ? nil : true }
        #expect(socket.states == [serving])
        _ = try await eventually("signs of life") { socket.messages.count { $0 == "WATCHDOG=1" } > 2 ? true : nil }

        gateway.process.signal(SIGHUP)
        _ = try await eventually("word of the reload") { socket.states.count == 3 ? true : nil }
        #expect(socket.states[1].wholeMatch(of: /RELOADING=1\nMONOTONIC_USEC=[0-9]+\nSTATUS=reloading/) != nil)
        #expect(socket.states[2] == serving)

        // A fault is reported in one line whatever it is.
        try "log-level: \"a\\nREADY=0\"\n".write(toFile: path, atomically: true, encoding: .utf8)
        gateway.process.signal(SIGHUP)
        _ = try await eventually("word of the second reload") { socket.states.count == 5 ? true : nil }
        #expect(socket.states[4].hasPrefix("\(serving); the last reload failed: \(path):1: 'a READY=0' is not"))
        #expect(socket.states[4].split(separator: "\n").count == 2)

        gateway.process.signal(SIGTERM)
        #expect(try await gateway.process.exit() == .code(0))
        #expect(socket.states.dropFirst(5) == ["STOPPING=1\nSTATUS=finishing the requests under way"])
      }
    }
  }

  /// If a thread hangs, the manager gets no more watchdog messages.
  @Test func aThreadThatIsStuckIsNotCoveredFor() async throws {
    try await withTemporaryDirectory { folder in
      let socket = try NotifySocket("\(folder)/notify")
      let manager = try #require(Self.manager(["NOTIFY_SOCKET": "\(folder)/notify", "WATCHDOG_USEC": "40000"]))
      let interval = try #require(manager.watchdogInterval)
      #expect(interval == 10)
      let loop = try EventLoop()
      let stuck = Mutex<[@Sendable () -> Void]>([])
      let bound = LoopBound(loop, loop: loop)
      let watchdog = LoopBound(
        Watchdog(
          of: manager, loop: loop, every: interval,
          asking: [loop.remote.execute, { job in stuck.withLock { $0.append(job) } }]), loop: loop)
      let thread = try LoopThread(name: "watched", running: bound)
      // Many rounds of the timer pass: a loop that has not answered is not asked again.
      let rounds = Mutex(0)
      loop.remote.execute {
        let timer = LoopTimer(loop: bound.value) { rounds.withLock { $0 += 1 } }
        timer.start(after: 0, every: interval)
        kept.withLock { $0 = LoopBound(timer, loop: bound.value) }
      }
      _ = try await eventually("ten rounds") { rounds.withLock { $0 } >= 10 ? true : nil }
      #expect(stuck.withLock { $0.count } == 1)
      #expect(socket.messages.isEmpty)
      // The thread continues.
      for job in stuck.withLock({ $0 }) { job() }
      _ = try await eventually("a sign of life") { socket.messages == ["WATCHDOG=1"] ? true : nil }
      _ = try await eventually("the next question") { stuck.withLock { $0.count } == 2 ? true : nil }
      #expect(socket.messages == ["WATCHDOG=1"])
      loop.remote.execute {
        kept.withLock { $0?.value.stop() }
        watchdog.value.stop()
        bound.value.stop()
      }
      thread.join()
      kept.withLock { $0 = nil }
    }
  }

  /// Nothing in the environment does harm.
  @Test func aStrangeEnvironmentIsNoManager() throws {
    for name in [
      "", "@", "notify", "vsock:2:1", "/\(String(repeating: "a", count: 200))",
      "@\(String(repeating: "a", count: 200))",
    ] {
      #expect(Self.manager(["NOTIFY_SOCKET": name]) == nil, "\(name)")
    }
    #expect(Self.manager([:]) == nil)
    let path = ["NOTIFY_SOCKET": "/no/such/socket"]
    // Nothing receives it, and nothing else happens.
    Self.manager(path)?.tell(.serving("here"))
    Self.manager(path)?.feedWatchdog()
    for (value, expected) in [
      ("0", nil), ("-1", nil), ("", nil), ("1", 10), ("30000000", 7500), ("99999999999999999999", nil),
      ("18446744073709551615", 4_611_686_018_427_387),
    ] as [(String, UInt64?)] {
      #expect(Self.manager(path.merging(["WATCHDOG_USEC": value]) { $1 })?.watchdogInterval == expected, "\(value)")
    }
    let other = path.merging(["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"]) { $1 }
    #expect(try #require(Self.manager(other)).watchdogInterval == nil, "it is about another process")
  }
}

/// A timer of a test, kept until it is stopped.
private let kept = Mutex<LoopBound<LoopTimer>?>(nil)
