package import Testing

extension Trait where Self == ConditionTrait {
  /// Runs a test only where networks can be made, and reports it as skipped, with this reason, where they cannot.
  package static var needsNetworkNamespaces: Self {
    .enabled("network namespaces need root and iproute2") { await NetworkNamespace.obstacle() == nil }
  }
}
