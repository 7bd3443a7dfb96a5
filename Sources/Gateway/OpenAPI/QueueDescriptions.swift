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
        "The name of the \(word), percent-decoded byte for byte; a slash may stand as it is or as `%2F`, but not at its end."
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
      "description": "After how long without a change to send a sign of life. It is `15s` by default.",
      "schema": ["type": "string", "pattern": .string(NumberPattern.time(3600))],
    ]
    return [
      "operationId": .string(id), "tags": ["Elections"], "summary": "Observe who leads",
      "description": """
      Tells who leads, and from then on each leader that comes and each value that a leader proclaims: JSON documents, each \
      a line, or Server-Sent Events where the request accepts `text/event-stream`. That nobody leads is not told. Goes on \
      until the client leaves.
      """,
      "parameters": [heartbeat],
      "responses": (["200": ok] as DocumentValue).adding(examples.adding(to: errors, of: id)),
    ]
  }

  // MARK: - Schemas

  private static let wait: DocumentValue = [
    "type": "string", "pattern": .string("^(0|0s|\(NumberPattern.time(600).dropFirst(2).dropLast(2)))$"),
    "description": "How long to wait behind others, such as `10s`, up to 600s. Not at all by default.",
  ]

  private static let value: DocumentValue = [
    "value": ["type": "string", "description": "What the leader tells, as text."],
    "value_base64": PlainSchemas.base64("The same, where it is not UTF-8."),
  ]

  private static let name: DocumentValue = [
    "name": ["type": "string", "description": "The name, where it is UTF-8."],
    "name_base64": PlainSchemas.base64("The name, where it is not."),
    "key": ["type": "string", "description": "The key that stands for it at etcd, where it is UTF-8."],
    "key_base64": PlainSchemas.base64("The key, where it is not."),
    "lease": PlainSchemas.lease("The ID of the lease that goes with it.", orNone: true),
    "ttl": KeyDescriptions.number("The time to live of the lease, in seconds, where it was granted or renewed."),
    "revision": KeyDescriptions.number(
      "The revision at which the key was created: each one that comes after has a larger one."),
  ]

  static let schemas: [(name: String, schema: DocumentValue)] = [
    (
      "LockAcquisition",
      [
        "type": "object", "additionalProperties": false, "description": "A lock to acquire.", "required": ["ttl"],
        "properties": [
          "ttl": PlainSchemas.ttl("After how long the lock is lost where it is not renewed."), "wait": wait,
        ],
      ]
    ),
    (
      "HeldLock",
      [
        "type": "object", "description": "A lock that somebody holds.", "required": ["lease", "revision"],
        "properties": name,
      ]
    ),
    (
      "Candidacy",
      [
        "type": "object", "additionalProperties": false,
        "description": "Who wants to lead (`value` or `value_base64`).",
        "required": ["ttl"],
        "properties":
          ([
            "ttl": PlainSchemas.ttl("After how long the lead is lost where it is not renewed."), "wait": wait,
          ] as DocumentValue).adding(value),
      ]
    ),
    (
      "Leadership",
      [
        "type": "object", "description": "Who leads.", "required": ["lease", "revision"],
        "properties": name.adding(value),
      ]
    ),
    (
      "LeaderNews",
      [
        "type": "object",
        "description": """
        A line of an observation: `leader` is who leads from now on, or what it tells; `heartbeat`, that nothing has \
        changed. With an `error` the stream ends.
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
        "type": "object", "additionalProperties": false, "description": "By what a client shows that it is the one.",
        "required": ["lease"],
        "properties": ["lease": PlainSchemas.lease("The ID of the lease that came with the lock or the lead.")],
      ]
    ),
  ]
}

// What the API's description says of the operations.
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
    case .acquireLock: ("LockAcquisition", "For how long, and how long to wait.")
    case .campaignInElection: ("Candidacy", "What to tell as the leader, for how long, and how long to wait.")
    case .keepLockAlive, .keepLeaderAlive: ("HolderLease", "The lease to renew.")
    case .proclaimValue: ("Proclamation", "What to tell.")
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
    case .getLock: "Tell who holds a lock"
    case .keepLockAlive: "Renew the lease of a lock"
    case .releaseLock: "Release a lock"
    case .campaignInElection: "Campaign to lead"
    case .getLeader: "Tell who leads"
    case .keepLeaderAlive: "Renew the lease of the leader"
    case .proclaimValue: "Tell something else as the leader"
    case .resignLeader: "Resign"
    }
  }

  fileprivate var text: String {
    let wait = """
      With `wait` it waits behind others for up to so long, without it not at all: then the answer is 409. A client that \
      leaves while it waits leaves the queue, too.
      """
    return switch self {
    case .acquireLock:
      """
      Grants a lease and acquires the lock with it, by etcd's own lock service: `etcdctl lock` and clientv3's `concurrency` \
      wait in the same queue. \(wait) The lock is lost when its lease ends: renew it.
      """
    case .campaignInElection:
      """
      Grants a lease and campaigns with it, by etcd's own election service: `etcdctl elect` and clientv3's `concurrency` \
      wait in the same queue. \(wait) The lead is lost when its lease ends: renew it.
      """
    case .getLock: "The holder's key, its lease, and the revision at which it was created."
    case .getLeader: "The leader's key, its lease, its value, and the revision at which the key was created."
    case .keepLockAlive: "Once, and only if that lease still holds the lock. Ask well before its time is over."
    case .keepLeaderAlive: "Once, and only if that lease still leads. Ask well before its time is over."
    case .releaseLock: "Revokes the lease that the lock is held with; the key goes with it."
    case .resignLeader: "Revokes the lease that the leader leads with; the key goes with it."
    case .proclaimValue: "Only while that lease leads. Those who observe the election are told."
    }
  }

  fileprivate var meaning: String {
    switch self {
    case .acquireLock: "The lock is the client's."
    case .getLock: "Who holds it."
    case .keepLockAlive: "The lease was renewed, and holds the lock."
    case .releaseLock: "The lock was released."
    case .campaignInElection: "The client leads."
    case .getLeader: "Who leads."
    case .keepLeaderAlive: "The lease was renewed, and leads."
    case .proclaimValue: "The leader tells this now."
    case .resignLeader: "It leads no more."
    }
  }
}
