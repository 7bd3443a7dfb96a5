import Testing

@testable import Gateway

/// How much memory there is for clients by default, and by a flag.
@Suite struct MachineMemoryTests {
  @Test func theBudgetIsAQuarterOfWhatThereIs() {
    #expect(MachineMemory.budget(of: 2 << 30) == 512 << 20)
    #expect(MachineMemory.budget(of: 100 << 20) == 64 << 20)
    #expect(MachineMemory.budget(of: .max) == 1 << 30)
  }

  @Test func limitsOfControlGroupsAreFound() {
    func limits(_ groups: String, _ files: [String: String]) -> [Int] {
      MachineMemory.groupLimits(groups: groups) { files[$0] ?? "" }
    }
    // Version 2, and a container that sees its own group as the root.
    let unified = "0::/a/b\n"
    #expect(
      limits(unified, ["/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "1048576\n"])
        == [1 << 20])
    #expect(limits("0::/\n", ["/sys/fs/cgroup/memory.max": "2097152\n"]) == [2 << 20])
    // Version 1.
    let legacy = "12:cpu,cpuacct:/x\n5:memory:/x\n0::/x\n"
    #expect(limits(legacy, ["/sys/fs/cgroup/memory/x/memory.limit_in_bytes": "4194304\n"]) == [4 << 20])
    #expect(limits("", [:]) == [] && limits("nonsense\n:\n", [:]) == [])
  }

  @Test func bytesOfAFlagMayHaveAUnit() {
    #expect(ByteCount(argument: "1048576")?.bytes == 1 << 20)
    #expect(ByteCount(argument: "64K")?.bytes == 64 << 10)
    #expect(ByteCount(argument: "512M")?.bytes == 512 << 20)
    #expect(ByteCount(argument: "2G")?.bytes == 2 << 30)
    for text in ["", "M", "-1", "1.5G", "99999999999999999999", "9999999999999G", "1T", " 1"] {
      #expect(ByteCount(argument: text) == nil, "\(text)")
    }
  }
}
