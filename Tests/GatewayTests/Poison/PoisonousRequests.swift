import EtcdSchema
import SwiftProtobuf
import TestSupport

/// Requests that kill or damage an etcd in use, and similar ones: the gateway refuses all of them.
enum PoisonousRequests {
  struct Sample: Sendable, CustomStringConvertible {
    var path: String
    var body: String
    /// The field that the error names.
    var field: String

    init(_ path: String, _ body: String, _ field: String) {
      self.path = path
      self.body = body
      self.field = field
    }

    var description: String { "\(path) \(body)" }
  }

  /// Measured with 3.4.23, 3.5.1 and 3.5.30; see "Requests that kill etcd" in `docs/architecture/bridge.md`.
  static let samples: [Sample] = alarms + grants + members + transactions + nulls

  private static let alarms = [
    #"{"action":"ACTIVATE"}"#, #"{"action":1}"#, #"{"action":"ACTIVATE","alarm":"NONE"}"#,
    #"{"action":"ACTIVATE","alarm":0,"memberID":"5"}"#, #"{"alarm":null,"action":"1"}"#,
    #"{"action":"ACTIVATE","alarm":"no such name"}"#,
  ].map { Sample("/v3/maintenance/alarm", $0, "alarm: ") }

  private static let grants = [#"{"name":"r"}"#, #"{"name":"r","perm":null}"#, #"{}"#].map {
    Sample("/v3/auth/role/grant", $0, "perm: ")
  }

  private static let members =
    [
      #"{"ID":"1"}"#, #"{"ID":"1","peerURLs":[]}"#, #"{"ID":"1","peerURLs":null}"#,
    ].map { Sample("/v3/cluster/member/update", $0, "peerURLs: ") }
    + [
      "x", "", "http://", "http://a", "http://a:", "http://a:b", "http://a:1/", "http://a:1/p", "ftp://a:1", "a:1",
      "//a:1", "http:a:1", "http://u@a:1", "http://a:1?q", "http://%zz:1", "http://[::1]", "http://[::1:1",
      "http://[x]:1", "http://a:123456", " http://a:1", "http://a :1", "http://a:b:1",
    ].map { Sample("/v3/cluster/member/update", #"{"ID":"1","peerURLs":["\#($0)"]}"#, "peerURLs[0]: ") }
    + [
      Sample(
        "/v3/cluster/member/update", #"{"ID":"1","peerURLs":["http://127.0.0.1:2380","x"]}"#, "peerURLs[1]: ")
    ]

  private static let transactions: [Sample] = {
    let delete = #"{"request_delete_range":{"key":"YQ==","range_end":"AA=="}}"#
    let camel = #"{"requestDeleteRange":{"rangeEnd":"AA","key":"YQ"}}"#
    func put(_ flag: String) -> String { #"{"request_put":{"key":"Zm9v","\#(flag)":true}}"# }
    func nested(_ operation: String) -> String { #"{"request_txn":{"failure":[\#(operation)]}}"# }
    return [
      ("[\(delete),\(put("ignore_value"))]", "success[1].request_put.ignore_value: "),
      ("[\(delete),\(put("ignoreLease"))]", "success[1].request_put.ignore_lease: "),
      ("[\(camel),\(put("ignore_lease"))]", "success[1].request_put.ignore_lease: "),
      ("[\(put("ignore_value")),\(delete)]", "success[1].request_delete_range.range_end: "),
      ("[\(nested(delete)),\(put("ignore_lease"))]", "success[1].request_put.ignore_lease: "),
      (
        "[\(nested(nested(delete))),\(nested(put("ignore_value")))]",
        "success[1].request_txn.failure[0].request_put.ignore_value: "
      ),
    ].map { Sample("/v3/kv/txn", #"{"success":\#($0.0)}"#, $0.1) } + [
      Sample(
        "/v3/kv/txn", #"{"failure":[\#(delete)],"success":[\#(put("ignore_value"))]}"#,
        "success[0].request_put.ignore_value: ")
    ]
  }()

  private static let nulls = [
    Sample("/v3/kv/txn", #"{"compare":[null]}"#, "compare[0]: "),
    Sample("/v3/kv/txn", #"{"success":[null]}"#, "success[0]: "),
    Sample("/v3/kv/txn", #"{"failure":[null]}"#, "failure[0]: "),
    Sample(
      "/v3/kv/txn", #"{"success":[{"request_txn":{"compare":[null]}}]}"#, "success[0].request_txn.compare[0]: "),
    Sample("/v3/cluster/member/add", #"{"peerURLs":[null]}"#, "peerURLs[0]: "),
  ]

  /// Every enum field of every request, with numbers that are not among its values.
  static let enums: [Sample] = {
    let etcd = EtcdSchema()
    var messages: [String: Google_Protobuf_DescriptorProto] = [:]
    func collect(_ message: Google_Protobuf_DescriptorProto, in scope: String) {
      messages["\(scope).\(message.name)"] = message
      for nested in message.nestedType { collect(nested, in: "\(scope).\(message.name)") }
    }
    for file in etcd.descriptors.file { for message in file.messageType { collect(message, in: ".\(file.package)") } }

    var samples: [Sample] = []
    /// - Parameter wrap: makes a request from the JSON of a message; `field` is the path to that.
    func walk(_ name: String, depth: Int, path: String, field: String, wrap: @escaping (String) -> String) {
      guard depth < 5, let message = messages[name] else { return }
      for member in message.field {
        let isRepeated = member.label == .repeated
        let here = (field.isEmpty ? "" : "\(field).") + member.name + (isRepeated ? "[0]" : "")
        let wrapped = { (value: String) in
          wrap(#"{"\#(member.name)":\#(isRepeated ? "[\(value)]" : value)}"#)
        }
        switch member.type {
        case .enum: samples += ["9", "-1", #""77""#, "9.0"].map { Sample(path, wrapped($0), "\(here): ") }
        case .message: walk(member.typeName, depth: depth + 1, path: path, field: here, wrap: wrapped)
        default: break
        }
      }
    }
    for method in etcd.methods {
      for path in method.httpPaths { walk(".\(method.request)", depth: 0, path: path, field: "", wrap: { $0 }) }
    }
    return samples
  }()
}
