/// The operations of locks and elections.
struct QueueDescriptions {
  let examples: DocumentExamples

  func item(_ route: RouteTable.Varying) -> DocumentValue {
    switch route {
    case .lock:
      [
        "parameters": [Self.lockName], "get": operation(.getLock), "post": operation(.acquireLock),
        "delete": operation(.releaseLock),
      ]
    case .lockRenewal: ["parameters": [Self.lockName], "post": operation(.keepLockAlive)]
    case .election:
      [
        "parameters": [Self.electionName], "get": operation(.getLeader), "post": operation(.campaignInElection),
        "put": operation(.proclaimValue), "delete": operation(.resignLeader),
      ]
    case .electionRenewal: ["parameters": [Self.electionName], "post": operation(.keepLeaderAlive)]
    case .electionChanges: ["parameters": [Self.electionName], "get": observation]
    case .key, .lease, .leaseRenewal: [:]
    }
  }

  private static let lockName = name("lock", "jobs/nightly")
  private static let electionName = name("election", "jobs/leader")

  private static func name(_ word: String, _ example: DocumentValue) -> DocumentValue {
    [
      "name": "name", "in": "path", "required": true,
      "description": .string(
        "The name of the \(word), percent-decoded byte for byte; a slash may be `%2F`, but must not be at its end."
      ),
      "schema": ["type": "string", "minLength": 1], "example": example,
    ]
  }

  private func operation(_ operation: QueueOperation) -> DocumentValue {
    let id = operation.rawValue
    var value: DocumentValue = [
      "operationId": .string(id), "tags": [.string(operation.isOfLock ? "Locks" : "Elections")],
      "summary": .string(operation.summary), "description": .string(operation.text),
    ]
    let lease: DocumentValue = [
      "name": .string(QueryParameter.lease.rawValue), "in": "query", "required": true,
      "description": "The ID of the lease that the \(operation.isOfLock ? "lock is held" : "leader leads") with.",
      "schema": ["type": "string", "pattern": .string("^(\(PlainSchemas.leaseID))$")],
    ]
    if operation.takesLease { value["parameters"] = [lease] }
    if let body = operation.body {
      value["requestBody"] = [
        "description": .string(body.meaning), "required": true,
        "content": ["application/json": examples.media(.schema(body.schema), .request, of: id)],
      ]
    }
    value["responses"] = examples.plainResponses(
      of: id, operation.meaning, operation.schema, besides: operation.errors)
    return value
  }

  private var observation: DocumentValue {
    let id = "observeElection"
    let ok: DocumentValue = [
      "description": "The leaders.",
      "content": [
        "application/x-ndjson": examples.media(
          .schema("LeaderNews"), .response(200), of: id, type: "application/x-ndjson"),
        "text/event-stream": ["schema": ["type": "string"]],
      ],
    ]
    let errors = CommonComponents.responses(
      ["400", "401", "403", "415", "429", "431", "500", "501", "502", "503", "504"])
    let heartbeat: DocumentValue = [
      "name": .string(QueryParameter.heartbeat.rawValue), "in": "query",
      "description": "After how long without a change to send a heartbeat. It is `15s` by default.",
      "schema": ["type": "string", "pattern": .string(NumberPattern.time(3600))],
    ]
    return [
      "operationId": .string(id), "tags": ["Elections"], "summary": "Observe an election",
      "description": """
      Sends the leader, and from then on each new leader and each value that a leader proclaims: JSON documents, each \
      a line, or Server-Sent Events if the request accepts `text/event-stream`, until the \
      client disconnects. That no client leads is not reported.
      """,
      "parameters": [heartbeat],
      "responses": (["200": ok] as DocumentValue).adding(examples.adding(to: errors, of: id)),
    ]
  }

  // MARK: - Schemas

  private static let wait: DocumentValue = [
    "type": "string", "pattern": .string("^(0|0s|\(NumberPattern.time(600).dropFirst(2).dropLast(2)))$"),
    "description": "How long to wait behind other clients, such as `10s`, up to 600s. No wait by default.",
  ]

  private static let value: DocumentValue = [
    "value": ["type": "string", "description": "The leader's value, as text."],
    "value_base64": PlainSchemas.base64("The leader's value, if it is not UTF-8."),
  ]

  private static let name: DocumentValue = [
    "name": ["type": "string", "description": "The name, if it is UTF-8."],
    "name_base64": PlainSchemas.base64("The name, if it is not UTF-8."),
    "key": ["type": "string", "description": "The key at etcd, if it is UTF-8."],
    "key_base64": PlainSchemas.base64("The key, if it is not UTF-8."),
    "lease": PlainSchemas.lease("The ID of its lease.", orNone: true),
    "ttl": KeyDescriptions.number("The time to live of the lease, in seconds, if it was granted or renewed."),
    "revision": KeyDescriptions.number(
      "The create revision of the key: each later holder has a larger one."),
  ]

  static let schemas: [(name: String, schema: DocumentValue)] = [
    (
      "LockAcquisition",
      [
        "type": "object", "additionalProperties": false, "description": "A lock to acquire.", "required": ["ttl"],
        "properties": [
          "ttl": PlainSchemas.ttl("How long the lock is held without renewal."), "wait": wait,
        ],
      ]
    ),
    (
      "HeldLock",
      [
        "type": "object", "description": "A lock that a client holds.", "required": ["lease", "revision"],
        "properties": name,
      ]
    ),
    (
      "Candidacy",
      [
        "type": "object", "additionalProperties": false,
        "description": "A candidate with its value (`value` or `value_base64`).",
        "required": ["ttl"],
        "properties":
          ([
            "ttl": PlainSchemas.ttl("How long the leadership is held without renewal."), "wait": wait,
          ] as DocumentValue).adding(value),
      ]
    ),
    (
      "Leadership",
      [
        "type": "object", "description": "The leader.", "required": ["lease", "revision"],
        "properties": name.adding(value),
      ]
    ),
    (
      "LeaderNews",
      [
        "type": "object",
        "description": """
        A line of an observation: `leader` is a new leader, or a new value of the leader; `heartbeat` says that \
        nothing has changed. With an `error` the stream ends.
        """,
        "properties": (["type": ["type": "string", "enum": ["leader", "heartbeat"]]] as DocumentValue)
          .adding(name).adding(value).adding(["error": .schema("StreamError")]),
      ]
    ),
    (
      "Proclamation",
      [
        "type": "object", "additionalProperties": false,
        "description": "What the leader tells from now on (`value` or `value_base64`).", "required": ["lease"],
        "properties": (["lease": PlainSchemas.lease("The ID of the lease that it leads with.")] as DocumentValue)
          .adding(value),
      ]
    ),
    (
      "HolderLease",
      [
        "type": "object", "additionalProperties": false, "description": "The lease of the holder or leader.",
        "required": ["lease"],
        "properties": ["lease": PlainSchemas.lease("The ID of the lease of the lock or of the leader.")],
      ]
    ),
  ]
}

// The text about the operations in the API's description.
extension QueueOperation {
  fileprivate var isOfLock: Bool {
    switch self {
    case .acquireLock, .getLock, .keepLockAlive, .releaseLock: true
    case .campaignInElection, .getLeader, .keepLeaderAlive, .proclaimValue, .resignLeader: false
    }
  }

  fileprivate var takesLease: Bool { self == .releaseLock || self == .resignLeader }

  fileprivate var body: (schema: String, meaning: String)? {
    switch self {
    case .acquireLock: ("LockAcquisition", "How long the lease lives, and how long to wait.")
    case .campaignInElection: ("Candidacy", "The candidate's value, how long its lease lives, and how long to wait.")
    case .keepLockAlive, .keepLeaderAlive: ("HolderLease", "The lease to renew.")
    case .proclaimValue: ("Proclamation", "The new value.")
    case .getLock, .getLeader, .releaseLock, .resignLeader: nil
    }
  }

  fileprivate var schema: String {
    switch self {
    case .acquireLock, .getLock, .keepLockAlive: "HeldLock"
    case .campaignInElection, .getLeader, .keepLeaderAlive, .proclaimValue: "Leadership"
    case .releaseLock, .resignLeader: "LeaseRevoked"
    }
  }

  fileprivate var errors: [String] {
    switch self {
    case .acquireLock, .campaignInElection: ["409"]
    case .getLock, .getLeader, .releaseLock, .resignLeader: ["404"]
    case .keepLockAlive, .keepLeaderAlive, .proclaimValue: ["404", "409"]
    }
  }

  fileprivate var summary: String {
    switch self {
    case .acquireLock: "Acquire a lock"
    case .getLock: "Get the holder of a lock"
    case .keepLockAlive: "Renew the lease of a lock"
    case .releaseLock: "Release a lock"
    case .campaignInElection: "Campaign to lead"
    case .getLeader: "Get the leader"
    case .keepLeaderAlive: "Renew the lease of the leader"
    case .proclaimValue: "Proclaim another value as the leader"
    case .resignLeader: "Resign"
    }
  }

  fileprivate var text: String {
    let wait = """
      With `wait` it waits behind other clients for up to that time; then, or without `wait`, the answer is 409. A \
      client that disconnects while it waits leaves the queue, too.
      """
    return switch self {
    case .acquireLock:
      """
      Grants a lease and acquires the lock with it, by etcd's own lock service: `etcdctl lock` and clientv3's \
      `concurrency` wait in the same queue. \(wait) The lock is lost when its lease ends: renew it.
      """
    case .campaignInElection:
      """
      Grants a lease and campaigns with it, by etcd's own election service: `etcdctl elect` and clientv3's \
      `concurrency` wait in the same queue. \(wait) The leadership is lost when its lease ends: renew it.
      """
    case .getLock: "The holder's key, its lease, and the revision at which it was created."
    case .getLeader: "The leader's key, its lease, its value, and the revision at which the key was created."
    case .keepLockAlive: "Renews the lease once, if it still holds the lock. Renew it well before it ends."
    case .keepLeaderAlive: "Renews the lease once, if it still leads. Renew it well before it ends."
    case .releaseLock: "Revokes the lease of the lock, which deletes its key."
    case .resignLeader: "Revokes the lease of the leader, which deletes its key."
    case .proclaimValue: "Only while that lease leads. Clients that observe the election receive the value."
    }
  }

  fileprivate var meaning: String {
    switch self {
    case .acquireLock: "The lock is the client's."
    case .getLock: "The holder."
    case .keepLockAlive: "The lease was renewed, and holds the lock."
    case .releaseLock: "The lock was released."
    case .campaignInElection: "The client leads."
    case .getLeader: "The leader."
    case .keepLeaderAlive: "The lease was renewed, and leads."
    case .proclaimValue: "The leader has this value now."
    case .resignLeader: "The client no longer leads."
    }
  }
}
