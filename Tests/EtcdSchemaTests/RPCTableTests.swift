import EtcdSchema
import SwiftProtobuf
import Testing

/// The generated table against the descriptors that it is generated from.
@Suite struct RPCTableTests {
  @Test func isWhatTheDescriptorsSay() {
    let described = EtcdSchema().descriptors.file.flatMap { file in
      file.service.flatMap { service in
        service.method.map { (path: "/\(file.package).\(service.name)/\($0.name)", method: $0) }
      }
    }
    #expect(EtcdRPC.all.map(\.path) == described.map(\.path))
    #expect(EtcdRPC.all.map(\.number) == Array(described.indices))
    for (traits, (path, method)) in zip(EtcdRPC.all, described) {
      let rule = method.options.Etcdrest_call
      #expect(traits.isClientStreaming == method.clientStreaming, "\(path)")
      #expect(traits.isServerStreaming == method.serverStreaming, "\(path)")
      #expect(traits.isRepeatable == rule.repeatable, "\(path)")
      #expect(traits.waits == rule.waits, "\(path)")
      #expect(traits.isEndless == rule.endless, "\(path)")
      #expect(traits.needsUser == rule.needsUser, "\(path)")
      #expect(traits.needsUserIf == rule.needsUserIf, "\(path)")
      #expect(traits.runsToEnd == rule.runsToEnd, "\(path)")
      #expect(traits.changesUsers == rule.changesUsers, "\(path)")
    }
  }

  /// A login does not change users, nor does the question whether authentication is on.
  @Test func usersAreChangedByWhatChangesThem() {
    let changes = EtcdRPC.all.filter(\.changesUsers).map { $0.path.split(separator: "/").last.map(String.init) ?? "" }
    #expect(
      Set(changes) == [
        "AuthDisable", "AuthEnable", "RoleAdd", "RoleDelete", "RoleGrantPermission", "RoleRevokePermission",
        "UserAdd", "UserChangePassword", "UserDelete", "UserGrantRole", "UserRevokeRole",
      ])
  }

  @Test func streamsEndByThemselvesThatHaveAnEnd() {
    let endless = EtcdRPC.all.filter(\.isEndless).map(\.path)
    #expect(endless == [EtcdRPC.leaseKeepAlive.path, EtcdRPC.watch.path, EtcdRPC.observe.path])
    #expect(EtcdRPC.all.filter(\.isEndless).allSatisfy { !$0.isUnary })
  }
}
