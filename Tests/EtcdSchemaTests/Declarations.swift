import EtcdSchema
import SwiftProtobuf

/// A declaration in a `.proto` file, and its place (`google.protobuf.SourceCodeInfo.Location.path`).
struct Declaration {
  enum Kind { case service, method, message, field, oneof, enumeration, value }

  let kind: Kind
  let name: String
  let path: [Int32]
}

// The numbers in paths are those of the fields of the descriptor messages (descriptor.proto).
extension Google_Protobuf_FileDescriptorProto {
  /// The comment right before each declaration, by path.
  var leadingComments: [[Int32]: String] {
    Dictionary(sourceCodeInfo.location.map { ($0.path, $0.leadingComments) }) { first, _ in first }
  }

  /// Everything the file declares, nested declarations included.
  var declarations: [Declaration] {
    let messages = messageType.indexed.flatMap { $1.declarations(in: package, path: [4, $0]) }
    let enums = enumType.indexed.flatMap { $1.declarations(in: package, path: [5, $0]) }
    let services = service.indexed.flatMap { index, service in
      [Declaration(kind: .service, name: "\(package).\(service.name)", path: [6, index])]
        + service.method.indexed.map {
          Declaration(kind: .method, name: "\(package).\(service.name)/\($1.name)", path: [6, index, 2, $0])
        }
    }
    return messages + enums + services
  }

  /// The fields and enum values of the file as lines of `etcd-api.tsv`.
  var tableLines: [String] {
    messageType.flatMap { $0.tableLines(in: package) } + enumType.flatMap { $0.tableLines(in: package) }
  }
}

extension Google_Protobuf_DescriptorProto {
  fileprivate func declarations(in scope: String, path: [Int32]) -> [Declaration] {
    let name = "\(scope).\(name)"
    return [Declaration(kind: .message, name: name, path: path)]
      + field.indexed.map { Declaration(kind: .field, name: "\(name).\($1.name)", path: path + [2, $0]) }
      + oneofDecl.indexed.map { Declaration(kind: .oneof, name: "\(name).\($1.name)", path: path + [8, $0]) }
      + nestedType.indexed.flatMap { $1.declarations(in: name, path: path + [3, $0]) }
      + enumType.indexed.flatMap { $1.declarations(in: name, path: path + [4, $0]) }
  }

  fileprivate func tableLines(in scope: String) -> [String] {
    let name = "\(scope).\(name)"
    let fields = field.map { field in
      [
        "field", name, field.name, "\(field.number)",
        field.typeName.isEmpty ? "\(field.type)" : String(field.typeName.dropFirst()),
        field.label == .repeated ? "repeated" : "",
        field.hasOneofIndex ? oneofDecl[Int(field.oneofIndex)].name : "",
        field.options.Etcdrest_since,
      ].joined(separator: "\t")
    }
    return fields + nestedType.flatMap { $0.tableLines(in: name) } + enumType.flatMap { $0.tableLines(in: name) }
  }
}

extension Google_Protobuf_EnumDescriptorProto {
  fileprivate func declarations(in scope: String, path: [Int32]) -> [Declaration] {
    let name = "\(scope).\(name)"
    return [Declaration(kind: .enumeration, name: name, path: path)]
      + value.indexed.map { Declaration(kind: .value, name: "\(name).\($1.name)", path: path + [2, $0]) }
  }

  fileprivate func tableLines(in scope: String) -> [String] {
    value.map { value in
      ["value", "\(scope).\(name)", value.name, "\(value.number)", value.options.Etcdrest_valueSince]
        .joined(separator: "\t")
    }
  }
}

extension EtcdSchema.Method {
  /// The method as a line of `etcd-api.tsv`.
  var tableLine: String {
    [
      "method", "\(service)/\(name)", request, response, traits.isClientStreaming ? "yes" : "",
      traits.isServerStreaming ? "yes" : "",
      httpPaths.joined(separator: " "),
    ].joined(separator: "\t")
  }
}

extension Array {
  /// The elements with their indices, as paths have them.
  fileprivate var indexed: [(Int32, Element)] { enumerated().map { (Int32($0), $1) } }
}
