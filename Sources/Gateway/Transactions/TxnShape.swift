/// What the answer to a transaction looks like: what each of its operations is answered with.
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

  /// What was asked for of the keys of a range.
  struct Selection {
    /// What revision they are of; 0 for that of the transaction.
    var revision: Int64
    var keysOnly: Bool
    var countOnly: Bool
  }

  /// What is done where all comparisons hold.
  var then: [Operation] = []
  /// What is done where one of them does not.
  var otherwise: [Operation] = []

  /// How deep transactions are nested within this one.
  var depth: Int {
    (then + otherwise).reduce(0) { depth, operation in
      if case .txn(let shape) = operation { max(depth, shape.depth + 1) } else { depth }
    }
  }
}
