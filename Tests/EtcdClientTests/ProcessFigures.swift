import EventLoop
import Foundation

/// Memory that this process uses, in bytes: the allocated memory if AddressSanitizer counts it (which needs much more
/// than it hands out); otherwise the resident memory (proc(5)) without what malloc keeps for later.
func bytesInUse() -> Int {
  if let count = dlsym(nil, "__sanitizer_get_current_allocated_bytes") {
    return unsafeBitCast(count, to: (@convention(c) () -> Int).self)()
  }
  returnFreeMemory()
  let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
  return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * sysconf(Int32(_SC_PAGESIZE))
}

/// Threads of this process.
func threadCount() -> Int { entries(of: "/proc/self/task") }

/// Open descriptors of this process.
func descriptorCount() -> Int { entries(of: "/proc/self/fd") }

private func entries(of path: String) -> Int {
  (try? FileManager.default.contentsOfDirectory(atPath: path))?.count ?? 0
}
