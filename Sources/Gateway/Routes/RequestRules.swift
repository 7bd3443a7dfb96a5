import EtcdSchema
import SwiftProtobuf
import Transcoding

extension Schema.Rules {
  /// Which requests the options beside messages and fields forbid (`etcdrest/options.proto`).
  init(_ descriptors: Google_Protobuf_FileDescriptorSet) {
    self.init()
    for file in descriptors.file {
      for message in file.messageType { add(message, in: file.package) }
    }
  }

  private mutating func add(_ message: Google_Protobuf_DescriptorProto, in scope: String) {
    let name = "\(scope).\(message.name)"
    for requirement in message.options.Etcdrest_requires {
      requirements[name, default: []].append(
        Requirement(
          field: requirement.field,
          condition: requirement.ifField.isEmpty ? nil : (requirement.ifField, requirement.ifNumber),
          because: requirement.because))
    }
    for field in message.field where field.options.hasEtcdrest_rule {
      let rule = field.options.Etcdrest_rule
      fields["\(name).\(field.name)"] = FieldRule(
        isMemberURL: rule.memberURL, role: rule.role, excludes: rule.excludes, value: Array(rule.value),
        because: rule.because)
    }
    for nested in message.nestedType { add(nested, in: name) }
  }
}
