import EtcdSchema
import Testing

@testable import GrpcBridge

/// The client's table of RPCs says what the `.proto` files say.
@Suite struct EtcdMethodTests {
  @Test func theTableIsTheSchemas() {
    let known = Dictionary(uniqueKeysWithValues: EtcdMethod.all.map { (String(decoding: $0.path, as: UTF8.self), $0) })
    // The streams of requests are those of watches and leases; RangeStream is of releases to come.
    let schema = EtcdSchema().methods.filter { !$0.clientStreaming && $0.name != "RangeStream" }
    #expect(Set(known.keys) == Set(schema.map(\.grpcPath)))
    for method in schema {
      let found = known[method.grpcPath]
      #expect(found?.isRepeatable == method.isRepeatable, "\(method.grpcPath)")
      #expect(found?.isStream == !method.isUnary, "\(method.grpcPath)")
      let changesUsers = method.service == "etcdserverpb.Auth" && !method.isRepeatable
      #expect(found?.changesUsers == changesUsers, "\(method.grpcPath)")
    }
  }
}
