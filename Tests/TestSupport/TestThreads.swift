import Foundation
import Synchronization

/// The threads that tests run on: more than there are cores, so that the system shares the cores among the tests.
///
/// Swift's own pool has one thread for each core and interrupts no task. On two cores, two tests that compute for
/// seconds would keep all others from answering a gateway or an etcd in time.
final class TestThreads: TaskExecutor {
  static let shared = TestThreads(count: 12)

  private let jobs = Mutex<[UnownedJob]>([])
  /// Counts `jobs`.
  private let available = DispatchSemaphore(value: 0)

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
    jobs.withLock { $0.append(job) }
    available.signal()
  }

  private func runNext() {
    available.wait()
    jobs.withLock { $0.removeFirst() }.runSynchronously(on: asUnownedTaskExecutor())
  }
}
