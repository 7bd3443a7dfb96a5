import ArgumentParser
import ByteBuffers
import EtcdClient
import HTTPServer
import ProtobufWire

/// `etcd-rest lease`.
struct LeaseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lease", abstract: "Grant, renew, show and revoke leases.",
    discussion: "IDs are hexadecimal, as in etcdctl; with --json they are decimal, as in the gateway.",
    subcommands: [Grant.self, Revoke.self, TimeToLive.self, List.self, KeepAlive.self])

  /// `etcd-rest lease grant`.
  struct Grant: ClientCommand {
    static let configuration = CommandConfiguration(abstract: "Grant a lease.")

    @Argument(help: "The lease's time to live: a time such as 60s or 1h.", transform: TimeSpan.read)
    var ttl: TimeSpan

    @OptionGroup(title: "etcd") var etcd: EndpointOptions
    @OptionGroup(title: "etcd") var identity: IdentityOptions
    @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions
    @OptionGroup var client: ClientOptions

    func run(_ client: EtcdClient) async throws {
      let lease = try await client.grantLease(ttl: try ttl.ttl())
      if !self.client.json { return say("lease \(lease.id) granted with TTL(\(lease.ttl.components.seconds)s)") }
      try printJSON(lease.id, lease.ttl)
    }
  }

  /// `etcd-rest lease revoke`.
  struct Revoke: ClientCommand {
    static let configuration = CommandConfiguration(abstract: "Revoke a lease, and delete its keys.")

    @Argument(help: "The lease.")
    var id: LeaseArgument

    @OptionGroup(title: "etcd") var etcd: EndpointOptions
    @OptionGroup(title: "etcd") var identity: IdentityOptions
    @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions
    @OptionGroup var client: ClientOptions

    func run(_ client: EtcdClient) async throws {
      let header = try await client.revokeLease(id.id)
      say(self.client.json ? "{\"revision\":\(header.revision)}" : "lease \(id.id) revoked")
    }
  }

  /// `etcd-rest lease timetolive`.
  struct TimeToLive: ClientCommand {
    static let configuration = CommandConfiguration(
      commandName: "timetolive", abstract: "Show the remaining time of a lease, and the keys attached to it.")

    @Argument(help: "The lease.")
    var id: LeaseArgument

    @Flag(help: "Also print the keys attached to the lease.")
    var keys = false

    @OptionGroup(title: "etcd") var etcd: EndpointOptions
    @OptionGroup(title: "etcd") var identity: IdentityOptions
    @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions
    @OptionGroup var client: ClientOptions

    func run(_ client: EtcdClient) async throws {
      let lease = try await client.timeToLive(of: id.id, keys: keys)
      let (granted, left) = (lease.grantedTTL.components.seconds, lease.ttl.components.seconds)
      var output = ByteBuffer()
      if self.client.json {
        output.append("{\"id\":")
        output.appendJSON(lease.id)
        output.append(",\"ttl\":\(left),\"granted_ttl\":\(granted)".utf8)
        if keys {
          output.append(",\"keys\":[")
          for (index, key) in lease.keys.enumerated() {
            output.append(index > 0 ? ",{" : "{")
            output.append(member: key.array, "\"key\":", "\"key_base64\":")
            output.append("}")
          }
          output.append("]")
        }
        output.append("}\n")
      } else {
        output.append("lease \(lease.id) granted with TTL(\(granted)s), remaining(\(left)s)".utf8)
        if keys {
          output.append(", attached keys([")
          for (index, key) in lease.keys.enumerated() {
            if index > 0 { output.append(" ") }
            output.append(key)
          }
          output.append("])")
        }
        output.append("\n")
      }
      try output.print()
    }
  }

  /// `etcd-rest lease list`.
  struct List: ClientCommand {
    static let configuration = CommandConfiguration(abstract: "Print all leases.")

    @OptionGroup(title: "etcd") var etcd: EndpointOptions
    @OptionGroup(title: "etcd") var identity: IdentityOptions
    @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions
    @OptionGroup var client: ClientOptions

    func run(_ client: EtcdClient) async throws {
      let leases = try await client.leases()
      var output = ByteBuffer()
      if self.client.json {
        output.append("{\"leases\":[")
        for (index, lease) in leases.enumerated() {
          output.append(index > 0 ? ",{\"id\":" : "{\"id\":")
          output.appendJSON(lease)
          output.append("}")
        }
        output.append("]}\n")
      } else {
        output.append("found \(leases.count) leases\n".utf8)
        for lease in leases { output.append("\(lease)\n".utf8) }
      }
      try output.print()
    }
  }

  /// `etcd-rest lease keep-alive`.
  struct KeepAlive: ClientCommand {
    static let configuration = CommandConfiguration(
      commandName: "keep-alive", abstract: "Renew a lease until it is interrupted, or once.",
      discussion: "The exit code is 1 if the lease has ended.")

    @Argument(help: "The lease.")
    var id: LeaseArgument

    @Flag(help: "Renew it once.")
    var once = false

    @OptionGroup(title: "etcd") var etcd: EndpointOptions
    @OptionGroup(title: "etcd") var identity: IdentityOptions
    @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions
    @OptionGroup var client: ClientOptions

    func run(_ client: EtcdClient) async throws {
      if once { return try tell(try await client.keepAliveOnce(id.id)) }
      for try await renewal in client.keepAlive(id.id) { try tell(renewal) }
      throw CommandFailure("the lease \(id.id) has expired or was revoked")
    }

    private func tell(_ renewal: LeaseKeepAlive) throws {
      if client.json { return try printJSON(renewal.id, renewal.ttl) }
      say("lease \(renewal.id) keepalived with TTL(\(renewal.ttl.components.seconds))")
    }
  }
}

/// Prints a lease as the gateway does.
private func printJSON(_ lease: LeaseID, _ ttl: Duration) throws {
  var output = ByteBuffer()
  output.append("{\"id\":")
  output.appendJSON(lease)
  output.append(",\"ttl\":\(ttl.components.seconds)}\n".utf8)
  try output.print()
}
