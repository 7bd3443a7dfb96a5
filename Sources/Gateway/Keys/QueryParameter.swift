/// A parameter in the query of a request for `/keys`, `/changes` or `/leases`. Requests are checked against this table,
/// and the API's description is made from it.
enum QueryParameter: String, CaseIterable {
  case key
  case prefix
  case from
  case to
  case revision
  case serializable
  case limit
  case cursor
  case keysOnly = "keys_only"
  case countOnly = "count_only"
  case sort
  case order
  case minModRevision = "min_mod_revision"
  case maxModRevision = "max_mod_revision"
  case minCreateRevision = "min_create_revision"
  case maxCreateRevision = "max_create_revision"
  case lease
  case ttl
  case prev
  case all
  case watch
  case since
  case heartbeat
  case wait
  case keys
  case skipErrors = "skip_errors"

  /// The type of its value.
  enum Kind {
    /// Any bytes, percent-encoded.
    case bytes
    /// `true` or `false`.
    case flag
    /// A decimal number.
    case integer(ClosedRange<Int64>)
    /// A time such as `500ms`, `30s`, `5m` or `1h`, in milliseconds; a bare number is seconds.
    case time(ClosedRange<UInt64>)
    /// One of several words.
    case choice([String])
    /// A text from an earlier answer, unchanged.
    case token
  }

  var kind: Kind {
    switch self {
    case .key, .prefix, .from, .to: .bytes
    case .revision, .minModRevision, .maxModRevision, .minCreateRevision, .maxCreateRevision:
      .integer(1...Int64.max)
    case .since: .integer(0...Int64.max)
    // 0 in answers means no lease; etcd accepts negative IDs.
    case .lease: .integer(Int64.min...Int64.max)
    case .serializable, .keysOnly, .countOnly, .prev, .all, .watch, .keys, .skipErrors: .flag
    case .limit: .integer(1...10_000)
    case .cursor: .token
    case .sort: .choice(["key", "version", "create", "mod", "value"])
    case .order: .choice(["asc", "desc"])
    // etcd's maximum is 9,000,000,000 seconds.
    case .ttl: .time(1000...9_000_000_000_000)
    case .heartbeat: .time(1000...3_600_000)
    case .wait: .time(1000...600_000)
    }
  }

  /// Its default, in its written form; nil if its absence means something else.
  var standard: String? {
    switch self {
    case .serializable, .keysOnly, .countOnly, .prev, .all, .watch, .keys, .skipErrors: "false"
    case .limit: "1000"
    case .sort: "key"
    case .order: "asc"
    case .heartbeat: "15s"
    default: nil
    }
  }
}
