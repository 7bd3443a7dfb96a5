import FoundationEssentials
package import SwiftProtobuf

/// etcd's v3 API as data, read from the descriptor set that `scripts/generate` makes of the `.proto` files.
///
/// Reading takes about a millisecond, and the descriptors a megabyte: whoever needs them keeps what it makes of them.
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
    package let clientStreaming: Bool
    package let serverStreaming: Bool
    /// The paths it is served under over HTTP, all by `POST`; empty for an RPC that is gRPC only.
    package let httpPaths: [String]
    /// Whether a call may be sent again though etcd may have executed it (clientv3's repeatable calls).
    package let isRepeatable: Bool
    /// Whether a call waits for another client by design, so that no default deadline may cut it.
    package let waits: Bool
    /// Whether old releases take a call from anybody though authentication is on, so that etcd is not to see an
    /// anonymous one.
    package let needsUser: Bool
    /// The number field that a request must have set for that; 0 where it holds for all.
    package let needsUserIf: UInt32
    /// Whether a call is not to be cancelled at etcd once it may be executed.
    package let runsToEnd: Bool

    /// The `:path` of a gRPC call (gRPC over HTTP/2, "Requests").
    package var grpcPath: String { "/\(service)/\(name)" }
    package var isUnary: Bool { !clientStreaming && !serverStreaming }

    fileprivate init(_ method: Google_Protobuf_MethodDescriptorProto, service: String) {
      self.service = service
      name = method.name
      request = String(method.inputType.drop { $0 == "." })
      response = String(method.outputType.drop { $0 == "." })
      clientStreaming = method.clientStreaming
      serverStreaming = method.serverStreaming
      let binding = method.options.Google_Api_http
      httpPaths = ([binding] + binding.additionalBindings).map(\.post).filter { !$0.isEmpty }
      isRepeatable = method.options.Etcdrest_call.repeatable
      waits = method.options.Etcdrest_call.waits
      needsUser = method.options.Etcdrest_call.needsUser
      needsUserIf = method.options.Etcdrest_call.needsUserIf
      runsToEnd = method.options.Etcdrest_call.runsToEnd
    }
  }
}
