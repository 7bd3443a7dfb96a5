import Glibc
import HTTPServer

/// The system's numbers about the process (proc(5), getrusage(2)), with the names in Prometheus's client libraries.
enum ProcessStatistics {
  static func add(to samples: inout MetricSamples) {
    var usage = rusage()
    if getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
      samples.add(.processCPU, seconds(usage.ru_utime) + seconds(usage.ru_stime))
    }
    let pages = SystemFile.text(of: "/proc/self/statm").split(separator: " ").prefix(2).compactMap { Double($0) }
    if pages.count == 2 {
      let size = Double(sysconf(Int32(_SC_PAGESIZE)))
      samples.add(.processVirtualMemory, pages[0] * size)
      samples.add(.processMemory, pages[1] * size)
    }
    if let count = descriptorCount() { samples.add(.processDescriptors, count) }
    samples.add(.processMaxDescriptors, DescriptorBudget.systemLimit)
    if let start { samples.add(.processStart, start) }
  }

  private static func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }

  /// How many entries the folder has, without the descriptor that reads it.
  private static func descriptorCount() -> Int? {
    guard let folder = opendir("/proc/self/fd") else { return nil }
    defer { closedir(folder) }
    var count = 0
    while let entry = readdir(folder) {
      if entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { count += 1 }
    }
    return count - 1
  }

  /// The start of the process in Unix time: the time of the boot, plus the 22nd field of `stat`, in ticks.
  private static let start: Double? = {
    let stat = SystemFile.text(of: "/proc/self/stat")
    guard let end = stat.lastIndex(of: ")") else { return nil }
    // The third field comes after the name, which may contain anything.
    let fields = stat[end...].split(separator: " ").dropFirst()
    let boot = SystemFile.text(of: "/proc/stat").split(separator: "\n").first { $0.hasPrefix("btime ") }?.dropFirst(6)
    guard fields.count > 19, let ticks = Double(fields[fields.startIndex + 19]), let boot, let begin = Double(boot)
    else {
      return nil
    }
    return begin + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }()
}
