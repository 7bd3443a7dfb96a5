/// The links from an answer to other operations (OpenAPI 3.1.1, section 4.8.20), by the operation that answers.
///
/// The body of a linked request is in the extension `x-requestBody`, as runtime expressions in an object. It would be
/// valid in `requestBody`, too, but OpenAPI Generator (swagger-parser) accepts only a string there and refuses the
/// whole document; with a string that contains such an object, other tools would send a JSON string.
enum OperationLinks {
  static let all: [String: DocumentValue] = [
    "putValue": [
      "readIt": key("getKey", "$request.path.key", "Reads the key."),
      "deleteIt": key("deleteKey", "$request.path.key", "Deletes the key."),
    ],
    "putValueOfQuery": [
      "readIt": key("getKey", "$request.query.key", "Reads the key."),
      "deleteIt": key("deleteKey", "$request.query.key", "Deletes the key."),
    ],
    "listKeys": [
      "readTheFirst": key("getKey", "$response.body#/keys/0/key", "Reads the first of the keys.")
    ],
    "putKey": [
      "readIt": key("getKey", "$request.body#/key", "Reads the key."),
      "deleteIt": key("deleteKey", "$request.body#/key", "Deletes the key."),
    ],
    "grantLease": [
      "askAboutIt": lease("getLease", "Gets the remaining time of the lease."),
      "renewIt": lease("keepLeaseAlive", "Renews the lease."),
      "revokeIt": lease("revokeLease", "Revokes the lease."),
    ],
    "kvPut": [
      "readIt": link("kvRange", ["key": "$request.body#/key"], "Reads the key."),
      "deleteIt": link("kvDeleteRange", ["key": "$request.body#/key"], "Deletes the key."),
    ],
    "leaseGrant": [
      "askAboutIt": link("leaseTimeToLive", ["ID": "$response.body#/ID"], "Gets the remaining time of the lease."),
      "attachAKey": link("kvPut", ["key": "bGVhc2Vk", "lease": "$response.body#/ID"], "Attaches a key to the lease."),
      "revokeIt": link("leaseRevoke", ["ID": "$response.body#/ID"], "Revokes the lease."),
    ],
    "lock": ["unlockIt": link("unlock", ["key": "$response.body#/key"], "Releases the lock.")],
    "campaign": [
      "proclaim": link("proclaim", ["leader": "$response.body#/leader"], "Replaces the leader's value."),
      "resign": link("resign", ["leader": "$response.body#/leader"], "Resigns as the leader."),
      "askWhoLeads": link("leader", ["name": "$request.body#/name"], "Gets the leader."),
    ],
    "userAdd": [
      "readIt": link("userGet", ["name": "$request.body#/name"], "Gets the roles of the user."),
      "deleteIt": link("userDelete", ["name": "$request.body#/name"], "Deletes the user."),
    ],
    "roleAdd": [
      "readIt": link("roleGet", ["role": "$request.body#/name"], "Gets the permissions of the role."),
      "deleteIt": link("roleDelete", ["role": "$request.body#/name"], "Deletes the role."),
    ],
    "memberAdd": [
      "removeIt": link("memberRemove", ["ID": "$response.body#/member/ID"], "Removes the member.")
    ],
  ]

  private static func lease(_ operation: String, _ description: String) -> DocumentValue {
    [
      "operationId": .string(operation), "parameters": ["id": "$response.body#/id"],
      "description": .string(description),
    ]
  }

  private static func key(_ operation: String, _ key: String, _ description: String) -> DocumentValue {
    [
      "operationId": .string(operation), "parameters": ["key": .string(key)], "description": .string(description),
    ]
  }

  private static func link(_ operation: String, _ body: DocumentValue, _ description: String) -> DocumentValue {
    ["operationId": .string(operation), "x-requestBody": body, "description": .string(description)]
  }
}
