package import Testing

extension Trait where Self == ConditionTrait {
  /// Runs a test only if networks can be made; otherwise it is reported as skipped, with this reason.
  package static var needsNetworkNamespaces: Self {
    .enabled("network namespaces need root and iproute2") { await NetworkNamespace.obstacle() == nil }
  }
}
