import ArgumentParser

/// The command line.
@main
struct EtcdRest: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "etcd-rest",
    abstract: "A REST/JSON front door for etcd v3.",
    discussion: """
      Serves etcd's v3 API over HTTP/1.1 and JSON, with a user name and password where etcd has \
      authentication on:

        etcd-rest serve --endpoints http://127.0.0.1:2379
        curl -u root:PASSWORD http://127.0.0.1:8379/v3/kv/range -d '{"key":"Zm9v"}'

      Keys and values are base64. To try it without an etcd of your own: etcd-rest dev
      """,
    version: EtcdRest.version,
    subcommands: [Serve.self, Dev.self, Check.self, OpenAPI.self])

  static let version = "0.1.0"
}
