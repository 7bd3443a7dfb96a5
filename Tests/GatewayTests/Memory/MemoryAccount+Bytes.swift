import EventLoop
import HTTPServer

extension MemoryAccount {
  /// A separate one, for a test without a server.
  convenience init(bytes: Int) throws {
    let loop = try EventLoop()
    self.init(MemoryBudget(bytes: bytes), trimmer: MemoryTrimmer(loop: loop))
  }
}
