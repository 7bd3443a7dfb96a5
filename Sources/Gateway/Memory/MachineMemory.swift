import Glibc

/// How much memory the process may use: that of the machine, or the limit of its control group if that is less.
enum MachineMemory {
  /// The part of it that clients may use by default.
  private static let share = 4
  private static let leastBudget = 64 << 20
  /// A larger budget needs the flag: it is kept for unknown clients.
  private static let maxBudget = 1 << 30

  /// The default of `--max-memory`, in bytes.
  static var budget: Int { budget(of: available) }

  static func budget(of available: Int) -> Int { min(max(available / share, leastBudget), maxBudget) }

  private static var available: Int {
    let pages = sysconf(Int32(_SC_PHYS_PAGES))
    let machine = pages > 0 ? pages * sysconf(Int32(_SC_PAGESIZE)) : .max
    return ([machine] + groupLimits(groups: SystemFile.text(of: "/proc/self/cgroup"), SystemFile.text)).min() ?? machine
  }

  /// The limits of the process's control groups and of their parents (Linux documentation, "Control Group v2",
  /// `memory.max`; "Memory Resource Controller", `memory.limit_in_bytes`).
  ///
  /// - Parameters:
  ///   - groups: the content of `/proc/self/cgroup` (cgroups(7)).
  ///   - text: reads a file; empty if there is none.
  static func groupLimits(groups: String, _ text: (String) -> String) -> [Int] {
    var limits: [Int] = []
    for line in groups.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let isUnified = parts[1].isEmpty
      guard isUnified || parts[1].split(separator: ",").contains("memory") else { continue }
      let (root, file) =
        isUnified ? ("/sys/fs/cgroup", "memory.max") : ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
      // In a container the process's own group is the root of what it sees.
      var path = parts[2].split(separator: "/")
      while true {
        let content = text(([root[...]] + path + [file[...]]).joined(separator: "/"))
        if let limit = Int(content.prefix { $0 != "\n" }) { limits.append(limit) }
        guard path.popLast() != nil else { break }
      }
    }
    return limits
  }
}
