internal import EtcdSchema
public import GrpcBridge

/// A transaction for ``EtcdClient/txn(_:timeout:)``: if all comparisons hold, it executes some operations, otherwise
/// others.
///
/// ```swift
/// let txn: Txn = .if(.version(of: "k", .equal, 0)).then(.put("k", "v")).else(.get("k"))
/// ```
///
/// etcd takes 128 operations unless set otherwise (``EtcdError/Code/tooManyOps``), and none that writes a key twice
/// (``EtcdError/Code/duplicateKey``).
public struct Txn: Sendable, Hashable {
  public var comparisons: [Comparison] = []
  public var successes: [TxnOperation] = []
  public var failures: [TxnOperation] = []

  /// A transaction that does nothing.
  public init() {}

  /// A transaction with these comparisons, all of which must hold.
  public static func `if`(_ comparisons: Comparison...) -> Txn { Txn().adding { $0.comparisons = comparisons } }

  /// A transaction that does this in any case.
  public static func then(_ operations: TxnOperation...) -> Txn { Txn().adding { $0.successes = operations } }

  /// Adds operations to execute if all comparisons hold.
  public func then(_ operations: TxnOperation...) -> Txn { adding { $0.successes += operations } }

  /// Adds operations to execute if one comparison does not hold.
  public func `else`(_ operations: TxnOperation...) -> Txn { adding { $0.failures += operations } }

  private func adding(_ body: (inout Txn) -> Void) -> Txn {
    var copy = self
    body(&copy)
    return copy
  }
}

/// A condition of a ``Txn`` on a key, or on each key of a range.
public struct Comparison: Sendable, Hashable {
  public enum Relation: Sendable, Hashable {
    case equal, notEqual, greater, less
  }

  enum Operand: Sendable, Hashable {
    case version(Int64)
    case createRevision(Int64)
    case modRevision(Int64)
    case value(Bytes)
    case lease(LeaseID?)
  }

  let range: KeyRange
  let relation: Relation
  let operand: Operand

  /// Compares the key's version: 0 if there is no such key.
  public static func version(of key: Bytes, _ relation: Relation, _ version: Int64) -> Comparison {
    Comparison(range: .key(key), relation: relation, operand: .version(version))
  }

  /// Compares the revision of the key's creation: 0 if there is no such key.
  public static func createRevision(of key: Bytes, _ relation: Relation, _ revision: Int64) -> Comparison {
    Comparison(range: .key(key), relation: relation, operand: .createRevision(revision))
  }

  /// Compares the revision of the key's last change: 0 if there is no such key.
  public static func modRevision(of key: Bytes, _ relation: Relation, _ revision: Int64) -> Comparison {
    Comparison(range: .key(key), relation: relation, operand: .modRevision(revision))
  }

  /// Compares the key's value: never true if there is no such key.
  public static func value(of key: Bytes, _ relation: Relation, _ value: Bytes) -> Comparison {
    Comparison(range: .key(key), relation: relation, operand: .value(value))
  }

  /// Compares the key's lease; nil for none.
  public static func lease(of key: Bytes, _ relation: Relation, _ lease: LeaseID?) -> Comparison {
    Comparison(range: .key(key), relation: relation, operand: .lease(lease))
  }

  /// The same for each key of a range in place of one key.
  public func forAll(in range: KeyRange) -> Comparison {
    Comparison(range: range, relation: relation, operand: operand)
  }
}

/// An operation of a ``Txn``.
public struct TxnOperation: Sendable, Hashable {
  enum Kind: Sendable, Hashable {
    case get(KeyRange, GetOptions)
    case put(Bytes, Bytes, LeaseID?, PutOptions.RawValue)
    case delete(KeyRange, returnsPrevious: Bool)
    indirect case txn(Txn)
  }

  let kind: Kind

  /// As ``EtcdClient/get(_:_:timeout:)``.
  public static func get(_ key: Bytes, _ options: GetOptions = GetOptions()) -> TxnOperation {
    TxnOperation(kind: .get(.key(key), options))
  }

  /// As ``EtcdClient/get(range:_:timeout:)``.
  public static func get(range: KeyRange, _ options: GetOptions = GetOptions()) -> TxnOperation {
    TxnOperation(kind: .get(range, options))
  }

  /// As ``EtcdClient/put(_:_:lease:_:timeout:)``.
  public static func put(
    _ key: Bytes, _ value: Bytes, lease: LeaseID? = nil, _ options: PutOptions = []
  ) -> TxnOperation {
    TxnOperation(kind: .put(key, value, lease, options.rawValue))
  }

  /// As ``EtcdClient/delete(_:returnsPrevious:timeout:)``.
  public static func delete(_ key: Bytes, returnsPrevious: Bool = false) -> TxnOperation {
    TxnOperation(kind: .delete(.key(key), returnsPrevious: returnsPrevious))
  }

  /// As ``EtcdClient/delete(range:returnsPrevious:timeout:)``.
  public static func delete(range: KeyRange, returnsPrevious: Bool = false) -> TxnOperation {
    TxnOperation(kind: .delete(range, returnsPrevious: returnsPrevious))
  }

  /// A transaction within this one.
  public static func txn(_ txn: Txn) -> TxnOperation { TxnOperation(kind: .txn(txn)) }
}

/// The result of a ``Txn``.
public struct TxnResponse: Sendable, Hashable {
  public let header: ResponseHeader
  /// Whether all comparisons have held.
  public let succeeded: Bool
  /// The results of its operations, in their order.
  public let results: [TxnResult]
}

/// The result of one operation of a ``Txn``.
public enum TxnResult: Sendable, Hashable {
  case get(GetResponse)
  case put(PutResponse)
  case delete(DeleteResponse)
  indirect case txn(TxnResponse)
}

// MARK: - To and from messages

extension Txn {
  var request: Etcdserverpb_TxnRequest {
    .with {
      $0.compare = comparisons.map(\.message)
      $0.success = successes.map(\.message)
      $0.failure = failures.map(\.message)
    }
  }
}

extension Comparison {
  fileprivate var message: Etcdserverpb_Compare {
    .with {
      $0.key = .init(range.start)
      $0.rangeEnd = .init(range.end)
      $0.result =
        switch relation {
        case .equal: .equal
        case .notEqual: .notEqual
        case .greater: .greater
        case .less: .less
        }
      switch operand {
      case .version(let version):
        $0.target = .version
        $0.version = version
      case .createRevision(let revision):
        $0.target = .create
        $0.createRevision = revision
      case .modRevision(let revision):
        $0.target = .mod
        $0.modRevision = revision
      case .value(let value):
        $0.target = .value
        $0.value = .init(value)
      case .lease(let lease):
        $0.target = .lease
        $0.lease = lease?.rawValue ?? 0
      }
    }
  }
}

extension TxnOperation {
  fileprivate var message: Etcdserverpb_RequestOp {
    .with {
      switch kind {
      case .get(let range, let options): $0.requestRange = .init(range, options)
      case .put(let key, let value, let lease, let options):
        $0.requestPut = .init(key, value, lease, PutOptions(rawValue: options))
      case .delete(let range, let returnsPrevious): $0.requestDeleteRange = .init(range, returnsPrevious)
      case .txn(let txn): $0.requestTxn = txn.request
      }
    }
  }
}

extension TxnResponse {
  init(_ response: Etcdserverpb_TxnResponse) {
    header = ResponseHeader(response.header)
    succeeded = response.succeeded
    results = response.responses.compactMap { response in
      switch response.response {
      case .responseRange(let response): .get(GetResponse(response))
      case .responsePut(let response): .put(PutResponse(response))
      case .responseDeleteRange(let response): .delete(DeleteResponse(response))
      case .responseTxn(let response): .txn(TxnResponse(response))
      case nil: nil
      }
    }
  }
}
