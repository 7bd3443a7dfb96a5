import Glibc
import Synchronization
import Testing

@testable import EventLoop

@Suite struct EventLoopTests {
  @Test func timersFireInTheirOrder() throws {
    let loop = try EventLoop()
    var fired: [Int] = []
    let timers = [30, 10, 20].map { delay in
      let timer = LoopTimer(loop: loop) {
        fired.append(delay)
        if fired.count == 3 { loop.stop() }
      }
      timer.start(after: UInt64(delay))
      return timer
    }
    loop.run()
    #expect(fired == [10, 20, 30])
    #expect(timers.allSatisfy { !$0.isActive })
  }

  /// A timer that starts itself for the next turn lets everything else run in between.
  @Test func aTimerThatGoesOnAndOnHoldsUpNothing() throws {
    let loop = try EventLoop()
    var count = 0
    var again: LoopTimer?
    let timer = LoopTimer(loop: loop) {
      count += 1
      if count == 1 { loop.remote.execute { [bound = LoopBound(loop, loop: loop)] in bound.value.stop() } }
      if count < 100_000 { again?.start(after: 0) } else { loop.stop() }
    }
    again = timer
    timer.start(after: 0)
    loop.run()
    #expect(count < 100_000)
    again = nil
  }

  @Test func aTimerThatIsGoneDoesNotFire() throws {
    let loop = try EventLoop()
    var timer: LoopTimer? = LoopTimer(loop: loop) { Issue.record("fired though it was gone") }
    timer?.start(after: 0)
    timer = nil
    let end = LoopTimer(loop: loop) { loop.stop() }
    end.start(after: 20)
    loop.run()
  }

  @Test func jobsOfOtherThreadsRunOnTheLoopsOwn() throws {
    let loop = try EventLoop()
    let bound = LoopBound(loop, loop: loop)
    let remote = loop.remote
    let thread = try LoopThread(name: "loop under test", running: bound)
    let count = Mutex(0)
    let threads = Mutex(Set<UInt>())
    for _ in 0..<1000 {
      remote.execute {
        count.withLock { $0 += 1 }
        _ = threads.withLock { $0.insert(currentThread) }
      }
    }
    remote.execute { bound.value.stop() }
    thread.join()
    #expect(count.withLock { $0 } == 1000)
    #expect(threads.withLock { $0 }.count == 1)
  }

  @Test func aJobForALoopThatHasEndedKeepsNothing() throws {
    final class Kept: Sendable {}
    let loop = try EventLoop()
    let bound = LoopBound(loop, loop: loop)
    let thread = try LoopThread(name: "loop under test", running: bound)
    loop.remote.execute { bound.value.stop() }
    thread.join()
    var kept: Kept? = Kept()
    weak let seen = kept
    loop.remote.execute { [kept] in _ = kept }
    kept = nil
    #expect(seen == nil)
  }

  @Test func aJobForALoopThatHasGoneIsDropped() throws {
    var loop: EventLoop? = try EventLoop()
    let remote = try #require(loop).remote
    loop = nil
    remote.execute { Issue.record("ran without a loop") }
  }

  /// A peer's bytes before its reset are read, and then the reset is seen: libuv stops watching at the error.
  @Test func bytesBeforeAResetAreReadAndTheResetIsSeen() throws {
    let loop = try EventLoop()
    let listener = socket(AF_INET, SocketConstants.stream, 0)
    defer { close(listener) }
    let any = try #require(SocketAddress(numericHost: "127.0.0.1", port: 0))
    #expect(any.withPointer { bind(listener, $0, $1) } == 0)
    #expect(listen(listener, 1) == 0)

    let address = SocketAddress(localOf: listener)
    var bytes = 0
    var ended = false
    var isConnected = false
    var client: StreamSocket?
    client = try StreamSocket(loop: loop, connectingTo: address) { _ in
      guard isConnected else {
        isConnected = true
        client?.watch(.readable)
        let peer = accept(listener, nil, nil)
        var reset = linger(l_onoff: 1, l_linger: 0)
        #expect(send(peer, "hello", 5, 0) == 5)
        setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, socklen_t(MemoryLayout.size(ofValue: reset)))
        close(peer)
        return
      }
      withUnsafeTemporaryAllocation(byteCount: 100, alignment: 1) { buffer in
        switch client?.read(into: buffer) {
        case .bytes(let count): bytes += count
        case .failed, .closed, nil:
          ended = true
          loop.stop()
        case .wouldBlock: break
        }
      }
    }
    client?.watch(.writable)
    let guardian = LoopTimer(loop: loop) { loop.stop() }
    guardian.start(after: 10_000)
    loop.run()
    #expect(ended)
    client = nil
  }

  @Test func namesAreResolved() throws {
    let loop = try EventLoop()
    var found: [SocketAddress] = []
    var failed = false
    loop.resolve(host: "localhost", port: 2379) { result in
      found = (try? result.get()) ?? []
      loop.resolve(host: "no such host", port: 1) { result in
        if case .failure = result { failed = true }
        loop.stop()
      }
    }
    loop.run()
    #expect(!found.isEmpty && found.allSatisfy { $0.port == 2379 })
    #expect(failed)
  }

  /// libuv resolves some of them at once and keeps the others waiting: each gets its own answer, and is then released.
  @Test func manyNamesAreResolvedAtOnce() throws {
    final class Kept {}
    let loop = try EventLoop()
    var ports: [UInt16] = []
    var kept: Kept? = Kept()
    weak let seen = kept
    for port in UInt16(1)...64 {
      loop.resolve(host: "localhost", port: port) { [kept] result in
        _ = kept
        ports += ((try? result.get()) ?? []).prefix(1).map(\.port)
        if ports.count == 64 { loop.stop() }
      }
    }
    kept = nil
    let guardian = LoopTimer(loop: loop) { loop.stop() }
    guardian.start(after: 60_000)
    loop.run()
    #expect(ports.sorted() == Array(1...64))
    #expect(seen == nil)
  }
}
