/// The operation of `/txn`.
struct TxnDescription {
  let examples: DocumentExamples

  var item: DocumentValue {
    let id = "commitTransaction"
    var operation: DocumentValue = [
      "operationId": .string(id), "tags": ["Transactions"], "summary": "Do several things as one",
      "description": """
      Compares, and does what stands in `then` where all comparisons of `if` hold, else what stands in `else`: all of it or \
      nothing, at one revision. All comparisons are of the store as it was before, those of a transaction within one, too. \
      That they do not hold is no error: `succeeded` tells. It is one call of `/etcdserverpb.KV/Txn` over gRPC; etcd takes \
      128 operations in a list by default, and no key put twice. The gateway takes 10,000 comparisons and operations in all \
      by default.
      """,
      "requestBody": [
        "description": "The transaction.", "required": true,
        "content": ["application/json": examples.media(.schema("Transaction"), .request, of: id)],
      ],
    ]
    operation["responses"] = examples.plainResponses(
      of: id, "It was carried out.", "TransactionAnswer", besides: ["404", "410"])
    return ["post": operation]
  }

  static let schemas: [(name: String, schema: DocumentValue)] = [
    (
      "Transaction",
      [
        "type": "object", "additionalProperties": false, "description": "A transaction.",
        "properties": [
          "if": list("Comparison", "What must hold for `then`; with none it does."),
          "then": list("TransactionOperation", "What to do where it holds, one after the other."),
          "else": list("TransactionOperation", "What to do where it does not."),
        ],
      ]
    ),
    (
      "Comparison",
      [
        "type": "object", "additionalProperties": false, "minProperties": 2,
        "description": """
        A comparison of one key (`key` or `key_base64`) with one of `version`, `create_revision`, `mod_revision`, `value` \
        (or `value_base64`) and `lease`. The numbers of a key that is not there are 0; it has no value, and nothing holds \
        of that.
        """,
        "properties": PlainSchemas.key.adding([
          "version": PlainSchemas.number("How many puts the key has had since its creation."),
          "create_revision": PlainSchemas.number("The revision at which it was created."),
          "mod_revision": PlainSchemas.number("The revision of its last change."),
          "value": ["type": "string", "description": "Its value, as text."],
          "value_base64": PlainSchemas.base64("Its value, where it is not UTF-8."),
          "lease": PlainSchemas.lease("The ID of its lease; `0` for none.", orNone: true),
          "is": [
            "type": "string", "enum": ["=", "!=", ">", "<"],
            "x-enum-varnames": ["EQUAL", "NOT_EQUAL", "GREATER", "LESS"],
            "description": "How what the key has compares with what stands here: `=` by default.",
          ],
        ]),
      ]
    ),
    (
      "TransactionOperation",
      [
        "type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
        "description": "One operation: one of these members.",
        "properties": [
          "put": .schema("PutOperation"), "get": .schema("GetOperation"), "delete": .schema("DeleteOperation"),
          "txn": .schema("Transaction"),
        ],
      ]
    ),
    (
      "GetOperation",
      [
        "type": "object", "additionalProperties": false,
        "description": """
        Reads one key (`key` or `key_base64`), or the keys of a range (`prefix`, or `from` and `to`, or `all`). What \
        follows `all` is for ranges, but for `revision`.
        """,
        "properties": PlainSchemas.range.adding([
          "revision": [
            "type": "integer", "format": "int64", "minimum": 1, "description": "As it was at this revision.",
          ],
          "limit": [
            "type": "integer", "format": "int32", "minimum": 1, "maximum": 10_000,
            "description": "How many keys to read at most: 1000 by default.",
          ],
          "keys_only": ["type": "boolean", "description": "Leave out the values."],
          "count_only": ["type": "boolean", "description": "Nothing but how many keys the range has."],
          "sort": PlainSchemas.word(
            of: .sort, names: ["BY_KEY", "BY_VERSION", "BY_CREATE", "BY_MOD", "BY_VALUE"],
            "What the keys are in order of."),
          "order": PlainSchemas.word(
            of: .order, names: ["ASCENDING", "DESCENDING"], "Whether the order goes up or down."),
        ]),
      ]
    ),
    (
      "DeleteOperation",
      [
        "type": "object", "additionalProperties": false,
        "description": "Deletes one key (`key` or `key_base64`), or a range (`prefix`, or `from` and `to`, or `all`).",
        "properties": PlainSchemas.range,
      ]
    ),
    (
      "TransactionAnswer",
      [
        "type": "object", "description": "The outcome of a transaction.",
        "required": ["revision", "succeeded", "responses"],
        "properties": [
          "revision": KeyDescriptions.number("The revision of the store after it."),
          "succeeded": ["type": "boolean", "description": "Whether `then` was done, and not `else`."],
          "responses": list("OperationAnswer", "What came of the operations that were done, in their order."),
        ],
      ]
    ),
    (
      "OperationAnswer",
      [
        "type": "object",
        "description": "What came of an operation: the member of its name, as the operation alone would answer.",
        "properties": [
          "put": .schema("KeyWritten"),
          "get": [
            "description": "The key, or null where it is not there; of a range, its keys.",
            "anyOf": [.schema("Keys"), ["type": "null"]],
          ],
          "delete": .schema("KeysDeleted"), "txn": .schema("TransactionAnswer"),
        ],
      ]
    ),
  ]

  private static func list(_ schema: String, _ description: String) -> DocumentValue {
    ["type": "array", "items": .schema(schema), "description": .string(description)]
  }
}
