/// The shape of the answer to a transaction: what each of its operations is answered with.
struct TxnShape {
  enum Operation {
    case put(wantsPrevious: Bool)
    /// One key.
    case getKey
    /// The keys of a range.
    case getKeys(Selection)
    case delete
    indirect case txn(TxnShape)
  }

  /// The options of a read of a range.
  struct Selection {
    /// The revision of the keys; 0 for the transaction's.
    var revision: Int64
    var keysOnly: Bool
    var countOnly: Bool
  }

  /// The operations if all comparisons hold.
  var then: [Operation] = []
  /// The operations if one of them does not hold.
  var otherwise: [Operation] = []

  /// How deep transactions are nested within this one.
  var depth: Int {
    (then + otherwise).reduce(0) { depth, operation in
      if case .txn(let shape) = operation { max(depth, shape.depth + 1) } else { depth }
    }
  }
}
