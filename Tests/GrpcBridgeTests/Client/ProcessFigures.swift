import EventLoop
import Foundation

/// Resident memory of this process, in bytes (proc(5)).
func residentBytes() -> Int {
  let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
  return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * sysconf(Int32(_SC_PAGESIZE))
}

/// Resident memory of this process, in bytes, without what malloc keeps for later.
func residentBytesInUse() -> Int {
  returnFreeMemory()
  return residentBytes()
}

/// Threads of this process.
func threadCount() -> Int { entries(of: "/proc/self/task") }

/// Open descriptors of this process.
func descriptorCount() -> Int { entries(of: "/proc/self/fd") }

private func entries(of path: String) -> Int {
  (try? FileManager.default.contentsOfDirectory(atPath: path))?.count ?? 0
}
