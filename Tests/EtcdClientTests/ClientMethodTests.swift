import EtcdSchema
import Testing

@testable import EtcdClient
@testable import GrpcBridge

/// The RPCs of the client and the bridge are those of the schema's table.
@Suite struct ClientMethodTests {
  @Test func theClientTreatsCallsAsTheSchemaSays() {
    for traits in EtcdRPC.all {
      let method = CallMethod.all[traits.number]
      #expect(String(decoding: method.path, as: UTF8.self) == traits.path)
      #expect(method.isRepeatable == traits.isRepeatable, "\(traits.path)")
      #expect(method.isStream == !traits.isUnary, "\(traits.path)")
      #expect(method.changesUsers == traits.changesUsers, "\(traits.path)")
    }
    // A login through the client does not count as a change after which refused logins are forgotten.
    #expect(!EtcdRPC.authenticate.clientMethod.changesUsers)
    #expect(!EtcdRPC.authStatus.clientMethod.changesUsers)
    #expect(EtcdRPC.userAdd.clientMethod.changesUsers)
    #expect(EtcdRPC.range.clientMethod.isRepeatable && !EtcdRPC.put.clientMethod.isRepeatable)
  }
}
