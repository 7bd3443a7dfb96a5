import FoundationEssentials
package import SwiftProtobuf

/// etcd's v3 API as data, read from the descriptor set that `scripts/generate` makes of the `.proto` files.
///
/// Reading takes about a millisecond, and the descriptors a megabyte: a caller keeps only what it makes of them.
package struct EtcdSchema: Sendable {
  /// Every message, enum and service of the API, with source comments.
  package let descriptors: Google_Protobuf_FileDescriptorSet

  /// Every RPC, in the order of the `.proto` files.
  package let methods: [Method]

  package init() {
    let extensions: SimpleExtensionMap = [
      Google_Api_Extensions_http, Etcdrest_Extensions_call, Etcdrest_Extensions_since, Etcdrest_Extensions_value_since,
      Etcdrest_Extensions_requires, Etcdrest_Extensions_rule,
    ]
    do {
      let text = descriptorSetBase64.withUTF8Buffer { Data($0) }
      descriptors = try Google_Protobuf_FileDescriptorSet(
        serializedBytes: Data(base64Encoded: text) ?? Data(), extensions: extensions)
    } catch {
      preconditionFailure("the generated descriptor set does not parse: \(error)")
    }
    methods = descriptors.file.flatMap { file in
      file.service.flatMap { service in
        service.method.map { Method($0, service: "\(file.package).\(service.name)") }
      }
    }
  }
}

extension EtcdSchema {
  /// One RPC and how it is called.
  package struct Method: Sendable {
    /// The full name of the service, such as `etcdserverpb.KV`.
    package let service: String
    /// The name within the service, such as `Range`.
    package let name: String
    /// The full name of the request message, such as `etcdserverpb.RangeRequest`.
    package let request: String
    /// The full name of the response message.
    package let response: String
    /// The traits of its calls.
    package let traits: RPCTraits
    /// Its paths over HTTP, all with `POST`; empty for an RPC that is gRPC only.
    package let httpPaths: [String]

    /// The `:path` of a gRPC call.
    package var grpcPath: String { traits.path }
    package var isUnary: Bool { traits.isUnary }

    fileprivate init(_ method: Google_Protobuf_MethodDescriptorProto, service: String) {
      self.service = service
      name = method.name
      request = String(method.inputType.drop { $0 == "." })
      response = String(method.outputType.drop { $0 == "." })
      guard let traits = EtcdRPC.all.first(where: { $0.path == "/\(service)/\(method.name)" }) else {
        preconditionFailure("\(service)/\(method.name) is not in the generated table")
      }
      self.traits = traits
      let binding = method.options.Google_Api_http
      httpPaths = ([binding] + binding.additionalBindings).map(\.post).filter { !$0.isEmpty }
    }
  }
}
