import ByteBuffers
import Glibc
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Writes spans for a collector: an `ExportTraceServiceRequest` in JSON (OpenTelemetry protocol, "JSON Protobuf
/// Encoding": IDs in hexadecimal, 64-bit integers as strings, enums as numbers).
///
/// Attributes have their names from OpenTelemetry's semantic conventions for HTTP and for RPC.
struct SpanEncoder {
  /// The difference between Unix time and `preciseTime`, in nanoseconds.
  let epoch: UInt64
  /// The ID of this process (`service.instance.id`).
  let instance: String

  func encode(_ spans: [Span]) -> ByteBuffer {
    var json = ByteBuffer(capacity: 512 + spans.count * 768)
    json.append("{\"resourceSpans\":[{\"resource\":")
    var resource = Attributes()
    resource.add("service.name", "etcd-rest")
    resource.add("service.version", EtcdRest.version)
    resource.add("service.instance.id", instance)
    resource.end(in: &json, asObject: true)
    json.append(",\"scopeSpans\":[{\"scope\":{\"name\":\"etcd-rest\",\"version\":")
    json.appendJSONString(EtcdRest.version)
    json.append("},\"spans\":[")
    for (index, span) in spans.enumerated() {
      if index > 0 { json.append(",") }
      switch span {
      case .request(let request): append(request, to: &json)
      case .call(let call): append(call, to: &json)
      }
    }
    json.append("]}]}]}")
    return json
  }

  private func append(_ span: RequestSpan, to json: inout ByteBuffer) {
    // Clients may make up any number of other methods.
    let isKnown = span.method != .other
    let method = isKnown ? span.method.name : "HTTP"
    begin(span.trace, span.id, parent: span.parent, to: &json)
    json.append(",\"kind\":2,\"name\":")
    json.appendJSONString(span.route.map { "\(method) \($0)" } ?? method)
    append(from: span.start, to: span.end, to: &json)
    var attributes = Attributes()
    attributes.add("http.request.method", isKnown ? method : "_OTHER")
    if let route = span.route { attributes.add("http.route", route) }
    if span.status > 0 { attributes.add("http.response.status_code", Int64(span.status)) }
    attributes.add("url.scheme", span.isSecure ? "https" : "http")
    attributes.add("network.protocol.version", span.isHTTP10 ? "1.0" : "1.1")
    if let client = span.client { attributes.add("client.address", client.description) }
    if let end = span.streamEnd { attributes.add("rpc.grpc.status_code", Int64(end.rawValue)) }
    if let error = span.error { attributes.add("error.type", error) }
    end(attributes, isError: span.error != nil, in: &json)
  }

  private func append(_ span: CallSpan, to json: inout ByteBuffer) {
    let call = span.call
    // The path without its slash: `etcdserverpb.KV/Range`.
    let name = String(decoding: call.method.path.dropFirst(), as: UTF8.self)
    let parts = name.split(separator: "/", maxSplits: 1)
    begin(span.trace, span.id, parent: span.parent, to: &json)
    json.append(",\"kind\":3,\"name\":")
    json.appendJSONString(name)
    append(from: call.start, to: call.start &+ call.time, to: &json)
    var attributes = Attributes()
    attributes.add("rpc.system", "grpc")
    attributes.add("rpc.service", String(parts.first ?? ""))
    attributes.add("rpc.method", String(parts.last ?? ""))
    attributes.add("rpc.grpc.status_code", Int64(call.code.rawValue))
    attributes.add("server.address", call.endpoint.path ?? call.endpoint.host)
    if call.endpoint.path == nil { attributes.add("server.port", Int64(call.endpoint.port)) }
    if call.reads > 0 { attributes.add("etcd_rest.batch.reads", Int64(call.reads)) }
    let isError = call.code != .ok
    if isError { attributes.add("error.type", call.code.label) }
    end(attributes, isError: isError, in: &json)
  }

  private func begin(_ trace: TraceID, _ id: UInt64, parent: UInt64?, to json: inout ByteBuffer) {
    json.append("{\"traceId\":\"")
    json.append(trace.text.utf8)
    json.append("\",\"spanId\":\"")
    json.append(hex: id)
    if let parent {
      json.append("\",\"parentSpanId\":\"")
      json.append(hex: parent)
    }
    json.append("\"")
  }

  private func append(from start: UInt64, to end: UInt64, to json: inout ByteBuffer) {
    json.append(",\"startTimeUnixNano\":\"")
    json.append(decimal: Int64(truncatingIfNeeded: start &+ epoch))
    json.append("\",\"endTimeUnixNano\":\"")
    json.append(decimal: Int64(truncatingIfNeeded: end &+ epoch))
    json.append("\",")
  }

  private func end(_ attributes: consuming Attributes, isError: Bool, in json: inout ByteBuffer) {
    attributes.end(in: &json, asObject: false)
    json.append(isError ? ",\"status\":{\"code\":2}}" : "}")
  }
}

/// A list of `KeyValue` under the name `attributes`.
private struct Attributes: ~Copyable {
  private var json = ByteBuffer(capacity: 512)

  private mutating func begin(_ name: StaticString) {
    json.append(json.isEmpty ? "{\"key\":\"" : ",{\"key\":\"")
    json.append(name)
    json.append("\",\"value\":{")
  }

  mutating func add(_ name: StaticString, _ value: String) {
    begin(name)
    json.append("\"stringValue\":")
    json.appendJSONString(value)
    json.append("}}")
  }

  mutating func add(_ name: StaticString, _ value: Int64) {
    begin(name)
    json.append("\"intValue\":\"")
    json.append(decimal: value)
    json.append("\"}}")
  }

  consuming func end(in other: inout ByteBuffer, asObject isObject: Bool) {
    other.append(isObject ? "{\"attributes\":[" : "\"attributes\":[")
    json.withUnsafeBytes { other.append($0) }
    other.append(isObject ? "]}" : "]")
  }
}

extension ByteBuffer {
  /// Appends 16 hexadecimal digits.
  fileprivate mutating func append(hex value: UInt64) {
    HexDigits.write(value, to: reserve(16))
    commit(16)
  }
}
