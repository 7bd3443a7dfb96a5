import EventLoop
import Foundation
import Glibc
import GrpcBridge
import Logging
import Synchronization
import TestSupport
import Testing

@testable import Gateway

/// A gateway that fails to start, in this process.
@Suite struct ServiceStartTests {
  /// With one thread for two shards clients would find a socket on which no shard accepts.
  @Test(arguments: [0, 1])
  func aShardWithoutAThreadLeavesNothingThatListens(_ granted: Int) async throws {
    try await withTemporaryDirectory { directory in
      let path = "\(directory)/socket"
      let started = Mutex(0)
      var url = ""
      let service = try GatewayService(
        listen: [.init(.tcp(host: "127.0.0.1", port: 0)), .init(.unix(path: path))], tls: nil, shards: 2,
        settings: GatewaySettings(endpoints: [try Endpoint("http://127.0.0.1:1")]), renewal: .init(), logins: .init(),
        patience: 0, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, reloadsOnHangup: false,
        startThread: { name, loop throws(LoopError) in
          let isGranted = started.withLock { count in
            defer { count += 1 }
            return count < granted
          }
          guard isGranted else { throw LoopError(-EAGAIN) }
          return try LoopThread(name: name, running: loop)
        }
      ) { addresses in
        url = addresses[0].description
        return ""
      }
      #expect(started.withLock { $0 } == 0, "made is not started")
      #expect(FileManager.default.fileExists(atPath: path))
      await #expect(throws: LoopError.self) { try await service.run() }
      #expect(started.withLock { $0 } == granted + 1)
      #expect(!FileManager.default.fileExists(atPath: path))
      await #expect(throws: HTTPFailure.refused) { _ = try await HTTPConnection.connect(to: url) }
    }
  }
}
