/// The operation of `/txn`.
struct TxnDescription {
  let examples: DocumentExamples

  var item: DocumentValue {
    let id = "commitTransaction"
    var operation: DocumentValue = [
      "operationId": .string(id), "tags": ["Transactions"], "summary": "Commit a transaction",
      "description": """
      Executes the operations of `then` if all comparisons of `if` hold, else those of `else`: all or nothing, at one \
      revision. All comparisons are of the store before the transaction, also those of a nested one. If they do not \
      hold, that is no error: `succeeded` is false. It is one call of `/etcdserverpb.KV/Txn` over gRPC; etcd takes 128 \
      operations in a list by default, and no key put twice. The gateway takes 10,000 comparisons and operations in \
      all by default.
      """,
      "requestBody": [
        "description": "The transaction.", "required": true,
        "content": ["application/json": examples.media(.schema("Transaction"), .request, of: id)],
      ],
    ]
    operation["responses"] = examples.plainResponses(
      of: id, "The transaction was executed.", "TransactionAnswer", besides: ["404", "410"])
    return ["post": operation]
  }

  static let schemas: [(name: String, schema: DocumentValue)] = [
    (
      "Transaction",
      [
        "type": "object", "additionalProperties": false, "description": "A transaction.",
        "properties": [
          "if": list("Comparison", "The conditions of `then`; without any they hold."),
          "then": list("TransactionOperation", "The operations if the conditions hold, in order."),
          "else": list("TransactionOperation", "The operations if the conditions do not hold, in order."),
        ],
      ]
    ),
    (
      "Comparison",
      [
        "type": "object", "additionalProperties": false, "minProperties": 2,
        "description": """
        A comparison of one key (`key` or `key_base64`) with one of `version`, `create_revision`, `mod_revision`, \
        `value` (or `value_base64`) and `lease`. The numbers of a key that does not exist are 0; it has no value, and \
        no comparison of `value` holds.
        """,
        "properties": PlainSchemas.key.adding([
          "version": PlainSchemas.number("How many puts the key has had since its creation."),
          "create_revision": PlainSchemas.number("The revision at which it was created."),
          "mod_revision": PlainSchemas.number("The revision of its last change."),
          "value": ["type": "string", "description": "Its value, as text."],
          "value_base64": PlainSchemas.base64("Its value, if it is not UTF-8."),
          "lease": PlainSchemas.lease("The ID of its lease; `0` for none.", orNone: true),
          "is": [
            "type": "string", "enum": ["=", "!=", ">", "<"],
            "x-enum-varnames": ["EQUAL", "NOT_EQUAL", "GREATER", "LESS"],
            "description": "How the key's value compares with the given one: `=` by default.",
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
        Reads one key (`key` or `key_base64`), or the keys of a range (`prefix`, or `from` and `to`, or `all`). The \
        members other than these and `revision` are for ranges.
        """,
        "properties": PlainSchemas.range.adding([
          "revision": [
            "type": "integer", "format": "int64", "minimum": 1, "description": "Read at this revision.",
          ],
          "limit": [
            "type": "integer", "format": "int32", "minimum": 1, "maximum": 10_000,
            "description": "The maximum number of keys to read: 1000 by default.",
          ],
          "keys_only": ["type": "boolean", "description": "Leave out the values."],
          "count_only": ["type": "boolean", "description": "Answer only with the number of keys of the range."],
          "sort": PlainSchemas.word(
            of: .sort, names: ["BY_KEY", "BY_VERSION", "BY_CREATE", "BY_MOD", "BY_VALUE"],
            "The order of the keys."),
          "order": PlainSchemas.word(
            of: .order, names: ["ASCENDING", "DESCENDING"], "Ascending or descending order."),
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
          "succeeded": ["type": "boolean", "description": "Whether `then` was executed, not `else`."],
          "responses": list("OperationAnswer", "The outcomes of the executed operations, in their order."),
        ],
      ]
    ),
    (
      "OperationAnswer",
      [
        "type": "object",
        "description": "The outcome of an operation: the member of its name, as in the answer to the operation alone.",
        "properties": [
          "put": .schema("KeyWritten"),
          "get": [
            "description": "The key, or null if it does not exist; of a range, its keys.",
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
