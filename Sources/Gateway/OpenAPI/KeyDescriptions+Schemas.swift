import HTTPServer

extension KeyDescriptions {
  /// The schemas of the answers of `/keys`.
  static let schemas: [(name: String, schema: DocumentValue)] = [
    (
      "Key",
      [
        "type": "object", "description": "A key with its value and history.",
        "required": ["create_revision", "mod_revision", "version", "lease"],
        "properties": key.adding(value).adding(history),
      ]
    ),
    (
      "Keys",
      [
        "type": "object",
        "description": """
        Some keys of a range: `revision`, `count` and `keys`; or, if the request has a `key`, the members of `Key`.
        """,
        "properties": (["revision": number("The revision that all pages are of.")] as DocumentValue)
          .adding(page).adding(key).adding(value).adding(history),
        "dependentRequired": (["keys": ["count"], "count": ["revision"]] as DocumentValue).adding(ofHistory),
      ]
    ),
    (
      "KeyPut",
      [
        "type": "object", "additionalProperties": false,
        "description": """
        A put: `key` or `key_base64`, and `value` or `value_base64`. At most one of `lease` and `ttl`, and at most one \
        condition.
        """,
        "properties": keyToPut.adding([
          "ttl": PlainSchemas.ttl("Grant a new lease of this time to live, and attach the key to it."),
          "if_mod_revision": PlainSchemas.number(
            "Only if the key has this mod revision; 0 if it does not exist."),
          "if_absent": ["type": "boolean", "description": "Only if the key does not exist."],
        ]),
      ]
    ),
    (
      "PutOperation",
      [
        "type": "object", "additionalProperties": false,
        "description": "A put in a transaction: `key` or `key_base64`, and `value` or `value_base64`.",
        "properties": keyToPut,
      ]
    ),
    (
      "KeyWritten",
      [
        "type": "object", "description": "The outcome of a put.", "required": ["revision"],
        "properties": [
          "revision": number("The revision of the put, which is the key's mod revision from now on."),
          "lease": [
            "type": "string", "pattern": "^[1-9][0-9]*$", "description": "The ID of the lease that `ttl` has granted.",
          ],
          "ttl": number("The lease's time to live in seconds; perhaps longer than requested."),
          "prev": [
            "description": "The key as it was before, with `prev=true`; null if it did not exist.",
            "anyOf": [.schema("Key"), ["type": "null"]],
          ],
        ],
      ]
    ),
    (
      "KeysImported",
      [
        "type": "object",
        "description": "A line of an import's answer: its progress; the last line has `done`.",
        "required": ["keys", "bytes", "revision"],
        "properties": [
          "keys": number("How many lines were put."),
          "bytes": number("How many bytes of the body these lines have."),
          "revision": number("The revision of the last put; 0 before the first one."),
          "repeated": number("How many of the lines may have been put twice, because etcd's answer was lost."),
          "errors": number("With `skip_errors=true`: how many lines were skipped."),
          "first_errors": [
            "type": "array", "maxItems": 10, "items": .schema("ImportError"), "description": "The first of them.",
          ],
          "done": ["type": "boolean", "description": "Whether the import has ended."],
        ],
      ]
    ),
    (
      "ImportError",
      [
        "type": "object", "description": "Why a line was not put.",
        "required": ["error", "message", "code", "line", "byte"],
        "properties": [
          "error": ["type": "string", "description": "The message."],
          "message": ["type": "string", "description": "The message once more."],
          "code": ["type": "integer", "format": "int32", "description": "The gRPC code of the error."],
          "line": number("The number of the line in the body, from 1 on."),
          "byte": number("How many bytes of the body precede the fault."),
        ],
      ]
    ),
    (
      "KeysDeleted",
      [
        "type": "object", "description": "The outcome of a deletion.", "required": ["deleted", "revision"],
        "properties": [
          "deleted": number("How many keys were deleted."), "revision": number("The revision of the store after it."),
        ],
      ]
    ),
    (
      "Changes",
      [
        "type": "object", "description": "Changes of keys.", "required": ["revision", "events"],
        "properties": ["revision": number("The revision to wait from next (`since`)."), "events": events],
      ]
    ),
    (
      "Change",
      [
        "type": "object",
        "description": """
        A line of a watch: a `put` has all members of a key, a `delete` the key and its `mod_revision`, `progress` a \
        `revision` up to which all was sent. With `compacted` and an `error` the stream ends.
        """,
        "properties":
          (["type": ["type": "string", "enum": ["put", "delete", "progress", "compacted"]]]
          as DocumentValue).adding(key).adding(value).adding(history).adding([
            "revision": number("Of `progress`: the revision up to which all was sent."),
            "compact_revision": number("Of `compacted`: the oldest revision that can be watched."),
            "error": .schema("StreamError"),
          ]),
      ]
    ),
  ]

  /// The header fields of its answers.
  static let headers: DocumentValue = [
    "ETag": [
      "description": "The key's version: its mod revision in quotes.",
      "schema": ["type": "string", "pattern": "^\"[0-9]+\"$"],
    ],
    "X-Etcd-Revision": header("The revision of the store that the answer is of."),
    "X-Etcd-Create-Revision": header("The revision at which the key was created."),
    "X-Etcd-Version": header("How many puts the key has had since its creation."),
    "X-Etcd-Lease": header("The ID of the key's lease, if it has one."),
  ]

  /// The members of a put, in every context.
  static let keyToPut: DocumentValue = PlainSchemas.key.adding([
    "value": ["type": "string", "description": "The value, as text."],
    "value_base64": PlainSchemas.base64("The value, if it is not UTF-8."),
    "lease": PlainSchemas.lease("The ID of the lease to attach the key to; `0` for none.", orNone: true),
    "prev": ["type": "boolean", "description": "Also answer with the key as it was before."],
  ])

  private static let key: DocumentValue = [
    "key": ["type": "string", "description": "The key, if it is UTF-8."],
    "key_base64": PlainSchemas.base64("The key, if it is not UTF-8."),
  ]

  private static let value: DocumentValue = [
    "value": ["type": "string", "description": "The value, if it is UTF-8 and was requested."],
    "value_base64": PlainSchemas.base64("The value, if it is not UTF-8."),
  ]

  private static let history: DocumentValue = [
    "create_revision": number("The revision at which the key was created."),
    "mod_revision": number("The revision of its last change."),
    "version": number("How many puts the key has had since its creation."),
    "lease": [
      "type": "string", "pattern": "^(0|-?[1-9][0-9]*)$", "description": "The ID of its lease; `0` if it has none.",
    ],
  ]

  private static let page: DocumentValue = [
    "count": number("How many keys the range has."),
    "keys": [
      "type": "array", "items": .schema("Key"), "description": "The keys of this page; absent with `count_only`.",
    ],
    "cursor": ["type": "string", "description": "The `cursor` of the next page; absent from the last page."],
    "more": [
      "type": "boolean",
      "description": "Whether the range has more keys, if an order other than by key has no cursor.",
    ],
  ]

  private static let events: DocumentValue = [
    "type": "array", "items": .schema("Change"),
    "description": "The changes, in their order; empty if the time has passed.",
  ]

  /// Which fields come together, if an object has the fields of several answers.
  private static let ofHistory: DocumentValue = [
    "create_revision": ["mod_revision"], "mod_revision": ["create_revision", "version", "lease"],
  ]

  static func number(_ description: String) -> DocumentValue {
    ["type": "integer", "format": "int64", "description": .string(description)]
  }

  private static func header(_ description: String) -> DocumentValue {
    ["description": .string(description), "schema": ["type": "string", "pattern": "^[0-9]+$"]]
  }
}
