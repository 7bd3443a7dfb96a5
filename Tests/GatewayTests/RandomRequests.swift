import TestSupport

/// An endless sequence of requests, the same for the same seed.
///
/// Keys, leases, users and roles come from small sets, so that requests meet the traces of earlier ones.
struct RandomRequests {
  /// A request whose strings `$lease` and `$token` each side replaces by its own lease and token.
  struct Item {
    var path: String
    var body: JSON
    /// What the body is after damage; nil while it is what `body` says.
    var damaged: String?
    var identity = Identity.none
  }

  /// The sender of a request.
  enum Identity { case none, root, user, stranger }

  /// Whether requests carry tokens: once authentication is on.
  var isGuarded = false
  private var random: SeededGenerator

  init(seed: UInt64) {
    random = SeededGenerator(seed: seed)
  }

  mutating func next() -> Item {
    var item =
      switch Int.random(in: 0..<100, using: &random) {
      case ..<25: Item(path: "/v3/kv/put", body: put())
      case ..<45: Item(path: "/v3/kv/range", body: range())
      case ..<53: Item(path: "/v3/kv/deleterange", body: deleteRange())
      case ..<66: Item(path: "/v3/kv/txn", body: transaction(depth: 0))
      case ..<68: Item(path: "/v3/kv/compaction", body: compaction())
      case ..<80: lease()
      default: auth()
      }
    if chance(8) { item.body["unknown_\(number(9))"] = [1, ["a": nil]] }
    if chance(10) { item.damaged = damage(item.body) }
    if isGuarded { item.identity = pick([.none, .root, .root, .root, .user, .user, .stranger]) }
    // etcd-rest asks anonymous clients for credentials for some calls that the stock gateway executes.
    if isGuarded && item.identity == .none && Self.needsUser(item.path) { item.identity = .user }
    return item
  }

  private static func needsUser(_ path: String) -> Bool {
    path.hasPrefix("/v3/auth/") && path != "/v3/auth/authenticate"
      || ["/deleterange", "/txn", "/compaction", "/grant", "/revoke"].contains { path.hasSuffix($0) }
  }

  // MARK: Requests of the key space

  private mutating func put() -> JSON {
    var body: JSON = ["value": .string(pick(["", "MQ==", "AP8=", "w6TDtg=="]))]
    if !chance(4) { body["key"] = key() }
    if chance(25) { body["lease"] = leaseID() }
    if chance(30) { body[name("prev_kv")] = true }
    if chance(8) { body[name("ignore_value")] = true }
    if chance(8) { body[name("ignore_lease")] = true }
    return body
  }

  private mutating func range() -> JSON {
    var body: JSON = [:]
    if !chance(4) { body["key"] = key() }
    if chance(60) { body[name("range_end")] = end() }
    if chance(30) { body["limit"] = integer(pick([-1, 0, 1, 2, 5])) }
    if chance(20) { body["revision"] = integer(number(120)) }
    if chance(30) { body[name("sort_order")] = pick(["NONE", "ASCEND", "DESCEND", 0, 1, 2]) }
    if chance(30) { body[name("sort_target")] = pick(["KEY", "VERSION", "CREATE", "MOD", "VALUE", 3]) }
    for flag in ["serializable", "keys_only", "count_only"] where chance(15) { body[name(flag)] = .bool(chance(80)) }
    for bound in ["min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"] where chance(8)
    {
      body[name(bound)] = integer(number(100))
    }
    return body
  }

  private mutating func deleteRange(isInTransaction: Bool = false) -> JSON {
    var body: JSON = [:]
    if !chance(4) { body["key"] = key() }
    // Never a range without an end in a transaction: with a put that keeps a value, that ends every etcd.
    if chance(20) { body[name("range_end")] = isInTransaction ? pick(["azM=", "azk=", "bA=="]) : end() }
    if chance(50) { body[name("prev_kv")] = true }
    return body
  }

  private mutating func transaction(depth: Int) -> JSON {
    var body: JSON = [:]
    if chance(80) { body["compare"] = .array((0..<number(3)).map { _ in comparison() }) }
    if chance(90) { body["success"] = .array((0..<number(4)).map { _ in operation(depth: depth) }) }
    if chance(60) { body["failure"] = .array((0..<number(3)).map { _ in operation(depth: depth) }) }
    return body
  }

  private mutating func comparison() -> JSON {
    let target = pick(["VERSION", "CREATE", "MOD", "VALUE", "LEASE"])
    let field = ["VERSION": "version", "CREATE": "create_revision", "MOD": "mod_revision", "VALUE": "value"]
    var body: JSON = ["key": key(), "target": .string(target)]
    body["result"] = pick(["EQUAL", "GREATER", "LESS", "NOT_EQUAL", 3])
    body[name(field[target] ?? "lease")] = target == "VALUE" ? "MQ==" : integer(number(5))
    if chance(10) { body[name("range_end")] = end() }
    return body
  }

  private mutating func operation(depth: Int) -> JSON {
    switch number(depth < 2 ? 10 : 9) {
    case ..<4: [name("request_range"): range()]
    case ..<7: [name("request_put"): put()]
    case ..<9: [name("request_delete_range"): deleteRange(isInTransaction: true)]
    default: [name("request_txn"): transaction(depth: depth + 1)]
    }
  }

  private mutating func compaction() -> JSON {
    ["revision": integer(number(60)), "physical": .bool(chance(30))]
  }

  // MARK: Leases

  private mutating func lease() -> Item {
    let prefix = pick(["/v3/lease", "/v3/kv/lease"])
    switch number(10) {
    case ..<4:
      var body: JSON = ["TTL": integer(pick([600, 900, 0x7fff_ffff_ffff]))]
      if chance(70) { body["ID"] = leaseID() }
      return Item(path: "/v3/lease/grant", body: body)
    case ..<6: return Item(path: "\(prefix)/revoke", body: ["ID": leaseID()])
    case ..<9: return Item(path: "\(prefix)/timetolive", body: ["ID": leaseID(), "keys": .bool(chance(70))])
    default: return Item(path: "\(prefix)/leases", body: [:])
    }
  }

  // MARK: Users and roles

  private mutating func auth() -> Item {
    let user: JSON = pick(["u0", "u1", "u2", "u\u{fc}", ""])
    let role: JSON = pick(["r0", "r1", "r2", ""])
    var permission: JSON = ["key": key()]
    permission["permType"] = pick(["READ", "WRITE", "READWRITE", 2])
    if chance(50) { permission[name("range_end")] = end() }
    let (path, body): (String, JSON) =
      switch number(16) {
      case 0...1: ("user/add", ["name": user, "password": pick(["pw", "pw2", ""])])
      case 2: ("user/add", ["name": user, "options": [name("no_password"): true]])
      case 3: ("user/get", ["name": user])
      case 4: ("user/list", [:])
      case 5: ("user/delete", ["name": user])
      case 6: ("user/changepw", ["name": user, "password": pick(["pw", "pw2"])])
      case 7...8: ("user/grant", ["user": user, "role": role])
      case 9: ("user/revoke", ["name": user, "role": role])
      case 10: ("role/add", ["name": role])
      case 11: ("role/get", ["role": role])
      case 12: ("role/list", [:])
      case 13: chance(40) ? ("role/delete", ["role": role]) : ("authenticate", ["name": user, "password": "pw"])
      // Never without `perm`: that ends 3.4.
      case 14: ("role/grant", ["name": role, "perm": permission])
      default: ("role/revoke", ["role": role, "key": key()])
      }
    return Item(path: "/v3/auth/\(path)", body: body)
  }

  // MARK: Values

  private mutating func key() -> JSON { .string("k\(number(8))".base64) }
  private mutating func end() -> JSON { .string(pick(["k3", "k9", "l", "\0"]).base64) }
  private mutating func leaseID() -> JSON {
    chance(15) ? "$lease" : integer(pick([0, 1, 7, 70, 0x6000_0000_0000_0001]))
  }

  /// An integer as a number or, beyond the precision of doubles, as a string.
  private mutating func integer(_ value: Int) -> JSON {
    abs(value) > 1 << 50 || chance(50) ? .string(String(value)) : .number(Double(value))
  }

  /// A field's name as the `.proto` file writes it, or in camelCase.
  private mutating func name(_ field: String) -> String {
    guard chance(30) else { return field }
    let words = field.split(separator: "_")
    return words[0] + words.dropFirst().map(\.capitalized).joined()
  }

  private mutating func chance(_ percent: Int) -> Bool { number(100) < percent }
  private mutating func number(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }
  private mutating func pick<Value>(_ values: [Value]) -> Value { values.randomElement(using: &random)! }

  // MARK: Damage

  /// A text that is no longer a request: cut, with a structural character replaced, or with a field of an impossible
  /// type.
  private mutating func damage(_ body: JSON) -> String? {
    var text = Array(body.description.utf8)
    guard case .object(let members) = body, let victim = members.keys.sorted().randomElement(using: &random) else {
      return nil
    }
    switch number(3) {
    case 0: text.removeLast(1 + number(text.count - 1))
    case 1:
      let structure = text.indices.filter { "{}[]:,".utf8.contains(text[$0]) }
      let index = structure.randomElement(using: &random)!
      text[index] = pick("{}[]:;#".utf8.filter { $0 != text[index] })
    default:
      guard members[victim]?.string != nil || members[victim]?.number != nil else { return nil }
      var impossible = body
      impossible[victim] = pick([["x": 1], true])
      text = Array(impossible.description.utf8)
    }
    return String(decoding: text, as: UTF8.self)
  }
}
