import EtcdSchema
import Testing

@Test func x() { print(EtcdSchema.methods.count, EtcdSchema.methods.filter(\.isUnary).count, EtcdSchema.methods.filter(\.isRepeatable).count, EtcdSchema.methods.first(where: { $0.name == "LeaseRevoke"})! )}
