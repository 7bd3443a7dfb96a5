import EtcdSchema
import Foundation
import SwiftProtobuf
import Testing

/// The schema against etcd's API: nothing missing, nothing invented, nothing undocumented.
@Suite struct EtcdSchemaTests {
  /// The schema's own files: how etcd's API is annotated, not part of it.
  private static let annotations: Set = ["etcdrest", "google.api"]
  private let files = EtcdSchema().descriptors.file.filter { !Self.annotations.contains($0.package) }

  /// The lines of `etcd-api.tsv`, which explains its columns.
  private let table: Set<String>

  init() throws {
    let url = try #require(Bundle.module.url(forResource: "etcd-api", withExtension: "tsv"))
    let text = try String(contentsOf: url, encoding: .utf8)
    table = Set(text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map(String.init))
  }

  @Test func isExactlyTheAPIOfEtcd() {
    let schema = Set(EtcdSchema().methods.map(\.tableLine) + files.flatMap(\.tableLines))
    #expect(table.subtracting(schema).sorted() == [], "missing in the schema")
    #expect(schema.subtracting(table).sorted() == [], "not in etcd's API")
  }

  @Test func declaresNoMessageThatEtcdHasNot() {
    let named = table.map { $0.split(separator: "\t", omittingEmptySubsequences: false) }.flatMap { columns in
      switch columns[0] {
      case "method": [columns[2], columns[3]]
      case "field": [columns[1], columns[4]].filter { $0.contains(".") }
      default: [columns[1]]
      }
    }
    let declared = files.flatMap(\.declarations).filter { $0.kind == .message || $0.kind == .enumeration }
    #expect(declared.count == Set(declared.map(\.name)).count)
    #expect(Set(declared.map(\.name)) == Set(named.map(String.init)))
  }

  @Test func everyDeclarationIsDocumented() {
    let undocumented = files.flatMap { file in
      let comments = file.leadingComments
      return file.declarations.filter { (comments[$0.path] ?? "").allSatisfy(\.isWhitespace) }.map(\.name)
    }
    #expect(undocumented == [])
  }

  @Test func everySummaryIsASentence() {
    for file in files {
      let comments = file.leadingComments
      for declaration in file.declarations {
        let summary = comments[declaration.path, default: ""].split(separator: "\n\n").first ?? ""
        let end = summary.last { !$0.isWhitespace }
        #expect(end == ".", "\(declaration.name): \(summary)")
      }
    }
  }

  /// What clientv3's `retry.go` repeats.
  @Test func repeatableCallsAreThoseOfTheReferenceClient() {
    let repeatable = EtcdSchema().methods.filter(\.traits.isRepeatable).map { "\($0.service)/\($0.name)" }
    #expect(
      Set(repeatable) == [
        "etcdserverpb.Auth/RoleGet", "etcdserverpb.Auth/RoleList", "etcdserverpb.Auth/UserGet",
        "etcdserverpb.Auth/UserList", "etcdserverpb.Cluster/MemberList", "etcdserverpb.KV/Range",
        "etcdserverpb.Lease/LeaseGrant", "etcdserverpb.Lease/LeaseKeepAlive",
        "etcdserverpb.Lease/LeaseLeases", "etcdserverpb.Lease/LeaseRevoke", "etcdserverpb.Lease/LeaseTimeToLive",
        "etcdserverpb.Maintenance/Alarm", "etcdserverpb.Maintenance/Hash", "etcdserverpb.Maintenance/HashKV",
        "etcdserverpb.Maintenance/MoveLeader", "etcdserverpb.Maintenance/Snapshot", "etcdserverpb.Maintenance/Status",
      ])
  }

  @Test func onlyLockAndCampaignWait() {
    let waiting = EtcdSchema().methods.filter(\.traits.waits).map { "\($0.service)/\($0.name)" }
    #expect(Set(waiting) == ["v3electionpb.Election/Campaign", "v3lockpb.Lock/Lock"])
  }

  @Test func pathsAreUnique() {
    let paths = EtcdSchema().methods.flatMap(\.httpPaths)
    #expect(paths.count == Set(paths).count)
  }
}
