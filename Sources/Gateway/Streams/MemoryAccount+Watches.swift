import GrpcBridge
import HTTPServer

extension MemoryAccount: WatchMemory {
  package func makeRoom() { onShortage() }
}
