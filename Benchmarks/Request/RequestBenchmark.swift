import ByteBuffers
import EtcdSchema
import EventLoop
import FoundationEssentials
import Gateway
import GrpcBridge
import HTTPServer
import Logging
import SwiftProtobuf

/// A request in the process, or a part of it, for callgrind to count: a shard without listeners, before an etcd that
/// costs next to nothing.
///
/// ```
/// RequestBenchmark --count NAME TIMES
/// ```
@main
enum RequestBenchmark {
  static func main() throws {
    let arguments = CommandLine.arguments
    guard arguments.count == 4, arguments[1] == "--count", let times = Int(arguments[3]) else {
      throw Failure(description: "expected --count NAME TIMES")
    }
    let name = arguments[2]
    let loop = try EventLoop()
    let connections = Connections()
    for message in [range, token] {
      connections.waiting.append(ConstantEtcd(on: loop, answering: try message.serializedBytes()))
    }
    let bound = LoopBound(connections, loop: loop)
    var settings = GatewaySettings(endpoints: [try Endpoint("http://etcd.test:2379")])
    settings.bridge.channel.connect = { _ in bound.value.next() }
    let logger = Logger(label: "benchmark") { _ in SwiftLogNoOpLogHandler() }
    let gateway = try LoneShard(on: loop, settings: settings, logger: logger)
    let shard = gateway.shard
    func request(
      _ method: StaticString, _ target: StaticString, body: StaticString = ""
    ) -> BenchmarkRequest {
      let user = ("Authorization" as StaticString, "Basic \(Data("root:rootpw".utf8).base64EncodedString())")
      return BenchmarkRequest(
        method, target, fields: [("Host", "localhost"), user], body: body, server: shard.server, loop: loop)
    }
    let get = request("GET", "/keys/foo")
    // The connection, and the login.
    guard get.serve() == 200 else { throw Failure(description: "the first request has failed") }
    switch name {
    case "routing":
      let call = request("POST", "/v3/kv/range", body: #"{"key":"Zm9v"}"#)
      let exchange = call.begin()
      for _ in 0..<times { _ = shard.handler(for: exchange) }
      shard.server.end(exchange, well: false)
    case "credentials":
      let exchange = get.begin()
      for _ in 0..<times {
        guard shard.bridge.trusts(try Caller(exchange, shard: shard).credentials) else {
          throw Failure(description: "the user is not known")
        }
      }
      shard.server.end(exchange, well: false)
    case "get": try serve(get, times)
    case "range": try serve(request("POST", "/v3/kv/range", body: #"{"key":"Zm9v"}"#), times)
    default: throw Failure(description: "NAME is routing, credentials, get or range")
    }
    gateway.close()
  }

  private static func serve(_ request: BenchmarkRequest, _ times: Int) throws {
    for _ in 0..<times {
      guard request.serve() == 200 else { throw Failure(description: "a request has failed") }
    }
  }

  private static let range: any SwiftProtobuf.Message = Etcdserverpb_RangeResponse.with {
    $0.header.revision = 7
    $0.kvs = [
      .with {
        $0.key = Data("foo".utf8)
        $0.createRevision = 5
        $0.modRevision = 6
        $0.version = 2
        $0.value = Data("sixteen bytes it".utf8)
      }
    ]
    $0.count = 1
  }

  private static let token: any SwiftProtobuf.Message = Etcdserverpb_AuthenticateResponse.with { $0.token = "token" }
}

/// The connections that are made: that of calls, and then that of logins.
private final class Connections {
  var waiting: ArraySlice<ConstantEtcd> = []

  func next() -> any ByteStream {
    guard let next = waiting.popFirst() else { preconditionFailure("a connection was lost") }
    return next
  }
}

private struct Failure: Error, CustomStringConvertible {
  let description: String
}
