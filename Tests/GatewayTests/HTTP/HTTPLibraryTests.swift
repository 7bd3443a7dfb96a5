import TestSupport
import Testing

@testable import Gateway
@testable import HTTPServer

/// The known peculiarities of versions of libmicrohttpd, and how long a connection lingers.
@Suite(.timeLimit(.minutes(5)))
struct HTTPLibraryTests {
  @Test(arguments: [
    ("0.9.75", false), ("1.0.0", true), ("1.0.1", true), ("1.0.8", true), ("1.0.9", false), ("1.0.10", false),
  ])
  func faultsAreThoseOfTheirVersions(_ version: String, _ isFaulty: Bool) {
    let fault = HTTPLibrary(version: version).knownFault
    #expect((fault != nil) == isFaulty)
    if let fault { #expect(fault.hasPrefix("it crashes") && fault.hasSuffix("fixed in 1.0.10")) }
  }

  @Test func theLogSaysWhatServes() async throws {
    try await withGateway(["http://127.0.0.1:1"]) { gateway in
      try await gateway.expectLogged("libmicrohttpd \(HTTPLibrary.loaded.version) serves HTTP")
    }
  }

  @Test func aClosedConnectionLingersForSoLong() {
    var silent = LingeringClose(now: 1000)
    #expect(!silent.isOver(now: 5999) && silent.isOver(now: 6000))
    silent.hasDiscarded(1, now: 2500)
    #expect(!silent.isOver(now: 7499) && silent.isOver(now: 7500))

    var busy = LingeringClose(now: 1000)
    for now in stride(from: UInt64(1000), through: 30_999, by: 1000) { busy.hasDiscarded(1, now: now) }
    busy.hasDiscarded(1, now: 30_999)
    #expect(!busy.isOver(now: 30_999) && busy.isOver(now: 31_000))

    var large = LingeringClose(now: 1000)
    large.hasDiscarded((64 << 20) - 1, now: 1000)
    #expect(!large.isOver(now: 1000))
    large.hasDiscarded(1, now: 1000)
    #expect(large.isOver(now: 1000))
  }

  @Test func aBodyMayBeSoLargeByDefault() async throws {
    try await withGateway(["http://127.0.0.1:1"]) { gateway in
      for (length, status) in [(2_883_585, 413), (2_883_584, 404)] {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send("POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: \(length)\r\n\r\n")
        if status == 404 { try await connection.send([UInt8](repeating: 32, count: length)) }
        #expect(try await connection.receive().status == status)
      }
    }
  }
}
