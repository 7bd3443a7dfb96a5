/// The operations of `/leases` and the paths below it.
struct LeaseDescriptions {
  let examples: DocumentExamples

  var ofAll: DocumentValue {
    ["get": operation(.listLeases), "post": operation(.grantLease)]
  }

  var ofOne: DocumentValue {
    ["parameters": [Self.id], "get": operation(.getLease), "delete": operation(.revokeLease)]
  }

  var ofRenewal: DocumentValue { ["parameters": [Self.id], "post": operation(.keepLeaseAlive)] }

  private static let id: DocumentValue = [
    "name": "id", "in": "path", "required": true, "description": "The ID of the lease.",
    "schema": ["type": "string", "pattern": .string("^(\(PlainSchemas.leaseID))$")],
    "example": "7587876543210",
  ]

  private func operation(_ operation: LeaseOperation) -> DocumentValue {
    let id = operation.rawValue
    var value: DocumentValue = [
      "operationId": .string(id), "tags": ["Leases"], "summary": .string(operation.summary),
      "description": .string(operation.text),
    ]
    let keys: DocumentValue = [
      "name": .string(QueryParameter.keys.rawValue), "in": "query",
      "description": .string(QueryParameter.keys.text), "schema": ["type": "boolean"],
    ]
    if operation == .getLease { value["parameters"] = [keys] }
    if operation == .grantLease {
      value["requestBody"] = [
        "description": "The lease to grant.", "required": true,
        "content": ["application/json": examples.media(.schema("LeaseGrant"), .request, of: id)],
      ]
    }
    let missing = operation == .grantLease || operation == .listLeases ? [] : ["404"]
    value["responses"] = examples.plainResponses(
      of: id, operation.meaning, operation.schema, besides: missing)
    return value
  }

  static let schemas: [(name: String, schema: DocumentValue)] = [
    (
      "LeaseGrant",
      [
        "type": "object", "additionalProperties": false, "description": "A lease to grant.", "required": ["ttl"],
        "properties": [
          "ttl": PlainSchemas.ttl("How long the lease lives without renewal."),
          "id": PlainSchemas.lease("The lease's ID; without it etcd chooses one."),
        ],
      ]
    ),
    (
      "Lease",
      [
        "type": "object", "description": "A lease.", "required": ["id"],
        "properties": [
          "id": PlainSchemas.lease("Its ID."),
          "ttl": KeyDescriptions.number("The remaining time, in seconds."),
          "granted_ttl": KeyDescriptions.number("The granted time to live, in seconds."),
          "keys": [
            "type": "array", "items": .schema("KeyName"),
            "description": "The keys that are attached to it, with `keys=true`.",
          ],
        ],
      ]
    ),
    (
      "KeyName",
      [
        "type": "object", "description": "The name of a key.",
        "properties": [
          "key": ["type": "string", "description": "The key, if it is UTF-8."],
          "key_base64": PlainSchemas.base64("The key, if it is not UTF-8."),
        ],
      ]
    ),
    (
      "Leases",
      [
        "type": "object", "description": "All leases.", "required": ["revision", "leases"],
        "properties": [
          "revision": KeyDescriptions.number("The revision of the store."),
          "leases": ["type": "array", "items": .schema("Lease"), "description": "The leases, each with its ID."],
        ],
      ]
    ),
    (
      "LeaseRevoked",
      [
        "type": "object", "description": "The outcome of a revocation.", "required": ["revision"],
        "properties": ["revision": KeyDescriptions.number("The revision of the store after it.")],
      ]
    ),
  ]
}

// The text about the operations in the API's description.
extension LeaseOperation {
  fileprivate var summary: String {
    switch self {
    case .grantLease: "Grant a lease"
    case .listLeases: "List the leases"
    case .getLease: "Get the remaining time of a lease"
    case .revokeLease: "Revoke a lease"
    case .keepLeaseAlive: "Renew a lease"
    }
  }

  fileprivate var text: String {
    switch self {
    case .grantLease: "Keys that are put with a lease are deleted when it is revoked, or not renewed in time."
    case .listLeases: "All leases of the cluster."
    case .getLease: "With `keys=true` also the keys that are attached to it."
    case .revokeLease: "Ends the lease and deletes the keys that are attached to it."
    case .keepLeaseAlive: "Renews the lease once: it has its whole time to live again. Renew it well before it ends."
    }
  }

  fileprivate var meaning: String {
    switch self {
    case .grantLease: "The lease that was granted; etcd may give it more time than requested."
    case .listLeases: "The leases."
    case .getLease: "The lease."
    case .revokeLease: "The lease was revoked."
    case .keepLeaseAlive: "The lease was renewed."
    }
  }

  fileprivate var schema: String {
    switch self {
    case .grantLease, .getLease, .keepLeaseAlive: "Lease"
    case .listLeases: "Leases"
    case .revokeLease: "LeaseRevoked"
    }
  }
}
