extension EtcdProcess {
  /// The member's answer at `/version` once it knows the cluster's version, which it decides a moment after it is
  /// healthy.
  package func decidedVersion() async throws -> JSON {
    try await eventually("the cluster's version") {
      let version = try await http.get("/version").json
      return version["etcdcluster"] == "not_decided" ? nil : version
    }
  }
}
