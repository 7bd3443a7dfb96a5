import Foundation

/// The threads that tests run on: more than there are cores, so that the system shares the cores among the tests.
///
/// Swift's own pool has one thread for each core and interrupts no task. On two cores, two tests that compute for
/// seconds would keep all others from answering a gateway or an etcd in time.
///
/// `@unchecked Sendable`: `jobs` is used only while `condition` is locked.
final class TestThreads: TaskExecutor, @unchecked Sendable {
  static let shared = TestThreads(count: 12)

  private var jobs: [UnownedJob] = []
  /// Not a `Mutex`, whose waiters keep a core busy at first.
  private let condition = NSCondition()

  private init(count: Int) {
    for number in 1...count {
      let thread = Thread { while true { self.runNext() } }
      thread.name = "tests \(number)"
      thread.stackSize = 8 << 20
      thread.start()
    }
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    condition.withLock { jobs.append(job) }
    condition.signal()
  }

  private func runNext() {
    let job = condition.withLock {
      while jobs.isEmpty { condition.wait() }
      return jobs.removeFirst()
    }
    job.runSynchronously(on: asUnownedTaskExecutor())
  }
}
