import HTTPServer

/// The operations of routes that are neither RPCs nor keys: probes, the database as a file, and this description.
struct PlainDescriptions {
  let examples: DocumentExamples

  /// Nil for a page for people.
  func operation(_ probe: Probe) -> DocumentValue? {
    switch probe {
    case .landing: nil
    case .version:
      make(
        "version", "Get the versions of etcd and of its cluster",
        """
        Clients choose the prefix of their paths by it, before they log in: it needs no credentials. The answer is \
        that of a member's own `/version`, and the gateway's version.
        """,
        ok: json("version", "The versions.", .schema("Versions")),
        errors: ["401", "403", "429", "500", "501", "502", "503", "504"])
    case .health:
      make(
        "health", "Check whether etcd serves and has no alarm",
        """
        It reads through a quorum, without credentials, and checks the alarms if etcd reports them. etcd counts as \
        healthy if it denies the read.
        """,
        parameters: [
          Self.serializable,
          Self.query(
            "exclude", "An alarm to ignore: `NOSPACE` or `CORRUPT`.", ["type": "string"], "NOSPACE"),
        ],
        ok: json("health", "etcd is healthy.", .schema("Health")), errors: [],
        others: ["503": json("health", "etcd is not.", .schema("Health"), status: 503)])
    case .status:
      make(
        "gatewayStatus", "Get the state of the gateway and of etcd's members, now and in the last minutes",
        """
        It has what the page at `/` shows, for programs. It lists the members if etcd lists them without credentials; \
        the history is of the last ten minutes, the oldest first. If the gateway was started with `--admin-listen`, it \
        is served only there, and this is 404.
        """,
        ok: json("gatewayStatus", "The state.", .schema("Status")), errors: ["404"])
    case .livez:
      make(
        "livez", "Check whether the gateway is alive",
        "It checks the gateway alone: a restart of it would not repair etcd.",
        ok: text("livez", "It is."), errors: [])
    case .readyz:
      make(
        "readyz", "Check whether the gateway can serve",
        "It reads through a quorum of etcd's members, without credentials; an answer that denies the read is enough.",
        parameters: [
          Self.serializable,
          Self.query(
            "verbose", "With any value, the answer lists the checks.", ["type": "string"], "true"),
        ],
        ok: text("readyz", "It can."), errors: [], others: ["503": text("readyz", "It cannot, and why.", status: 503)])
    }
  }

  /// `GET /metrics`.
  var metrics: DocumentValue {
    make(
      "metrics", "Get the gateway's metrics",
      """
      It is in the text format of Prometheus. If the gateway was started with `--admin-listen`, metrics are served \
      only there, and this is 404.
      """,
      ok: [
        "description": "The metrics of all shards.",
        "content": ["text/plain": ["schema": ["type": "string"]]],
      ], errors: ["404", "503"])
  }

  /// `GET /snapshot`.
  var snapshot: DocumentValue {
    var operation = make(
      "downloadSnapshot", "Downloads the database as a file",
      """
      It is the file that `etcdctl snapshot restore` takes. The gateway verifies the checksum at its end before it \
      sends the last bytes, and cuts the connection if it is wrong, so that a file of the announced length is whole. \
      If authentication is on, the user needs the role `root`.
      """,
      ok: [
        "description": "The database of the member that answers.",
        "headers": [
          "Content-Disposition": [
            "description": "A name for the file, with the time in it.", "schema": ["type": "string"],
          ]
        ],
        "content": ["application/octet-stream": ["schema": ["type": "string", "format": "binary"]]],
      ],
      errors: ["400", "401", "403", "415", "429", "431", "500", "501", "502", "503", "504"])
    operation["tags"] = ["Maintenance"]
    operation["security"] = nil
    return operation
  }

  func operation(_ format: OpenAPIFormat) -> DocumentValue {
    let (name, form, version) =
      switch format {
      case .json: ("openapiJson", "JSON", "3.1")
      case .yaml: ("openapiYaml", "YAML", "3.1")
      case .olderJSON: ("openapi30Json", "JSON, for tools that do not know OpenAPI 3.1", "3.0")
      }
    var operation = make(
      name, "Describes this API as \(form)",
      "This description as an OpenAPI \(version) document. It needs no credentials.",
      ok: [
        "description": "The document.",
        "headers": ["ETag": ["description": "Changes with the document.", "schema": ["type": "string"]]],
        "content": ["\(format.mediaType)": ["schema": ["type": "object"]]],
      ], errors: [],
      others: ["304": ["description": "The document still has the entity tag of `If-None-Match`."]])
    operation["tags"] = ["Description"]
    operation["responses"] = operation["responses"]?.adding(CommonComponents.responses(["400"]))
    operation["parameters"] = [
      [
        "name": "If-None-Match", "in": "header", "description": "The entity tag of the document that the client has.",
        "schema": ["type": "string"],
      ]
    ]
    return operation
  }

  /// The schemas that only these operations refer to.
  static let schemas: [(name: String, schema: DocumentValue)] = [
    (
      "Versions",
      [
        "type": "object", "description": "Versions of etcd, and of the gateway.",
        "required": ["etcdserver", "etcdcluster", "gateway"],
        "properties": [
          "etcdserver": ["type": "string", "description": "The version of the member, such as `3.5.30`."],
          "etcdcluster": ["type": "string", "description": "The version of the cluster, such as `3.5.0`."],
          "storage": ["type": "string", "description": "The version of the database, since etcd 3.6."],
          "gateway": ["type": "string", "description": "The version of the gateway."],
        ],
      ]
    ),
    (
      "Status",
      [
        "type": "object", "description": "The state of the gateway and of etcd, now and in the last minutes.",
        "required": ["gateway", "healthy", "reason", "etcd", "members", "clients", "interval", "history"],
        "properties": [
          "gateway": ["type": "string", "description": "The version of the gateway."],
          "healthy": ["type": "boolean", "description": "Whether etcd serves and has no alarm."],
          "reason": ["type": "string", "description": "What is wrong; empty if nothing is."],
          "etcd": [
            "type": "object", "description": "What a member reports of itself; empty texts if it does not.",
            "required": ["version", "leader", "db_size"],
            "properties": [
              "version": ["type": "string", "description": "Its version."],
              "leader": ["type": "string", "description": "The leader's name, or else its ID in hexadecimal digits."],
              "db_size": ["type": "string", "format": "int64", "description": "The size of the database, in bytes."],
            ],
          ],
          "members": [
            "type": "array", "description": "The members; if etcd does not list them, the endpoints.",
            "items": [
              "type": "object", "required": ["name", "id", "endpoints", "leader", "learner", "connection"],
              "properties": [
                "name": ["type": "string", "description": "Its name; empty if it is unknown."],
                "id": ["type": "string", "description": "Its ID in hexadecimal digits; empty if it is unknown."],
                "endpoints": ["type": "array", "items": ["type": "string"], "description": "Where it serves clients."],
                "leader": ["type": "boolean", "description": "Whether it is the leader."],
                "learner": ["type": "boolean", "description": "Whether it is a learner."],
                "connection": [
                  "type": "string",
                  "description": "The state of the gateway's connection to it, `ready` for a good one.",
                ],
              ],
            ],
          ],
          "clients": [
            "type": "object", "description": "Numbers of clients now; empty just after the start.",
            "properties": [
              "connections": ["type": "integer", "description": "Connections, without those of streams."],
              "streams": ["type": "integer", "description": "Streams and WebSockets."],
              "watches": ["type": "integer", "description": "Watches."],
              "users": ["type": "integer", "description": "Users whose tokens are kept."],
            ],
          ],
          "interval": ["type": "integer", "description": "The length of each span of the history, in seconds."],
          "history": [
            "type": "array", "description": "The last ten minutes, the oldest first.",
            "items": [
              "type": "object",
              "required": ["requests_per_second", "errors_per_second", "logins_per_second", "streams", "watches"],
              "properties": [
                "requests_per_second": ["type": "number", "description": "Requests that were answered."],
                "errors_per_second": ["type": "number", "description": "Those with a status from 500 on."],
                "logins_per_second": ["type": "number", "description": "Logins that etcd has granted."],
                "streams": ["type": "number", "description": "Streams and WebSockets that were open at its end."],
                "watches": ["type": "number", "description": "Watches that were open at its end."],
                "median_seconds": ["type": "number", "description": "How long half of the requests took at most."],
                "p99_seconds": ["type": "number", "description": "How long 99 % of them took at most."],
              ],
            ],
          ],
        ],
      ]
    ),
    (
      "Health",
      [
        "type": "object", "description": "The health of etcd.", "required": ["health", "reason"],
        "properties": [
          "health": ["type": "string", "enum": ["true", "false"], "description": "Whether it is healthy."],
          "reason": ["type": "string", "description": "What is wrong; empty if nothing is."],
        ],
      ]
    ),
  ]

  private static let serializable = query(
    "serializable", "With `true` one member is enough, without a quorum.", ["type": "string"], "true")

  private static func query(
    _ name: String, _ description: String, _ schema: DocumentValue, _ example: DocumentValue
  ) -> DocumentValue {
    [
      "name": .string(name), "in": "query", "description": .string(description), "schema": schema, "example": example,
    ]
  }

  private func make(
    _ id: String, _ summary: String, _ description: String, parameters: [DocumentValue] = [], ok: DocumentValue,
    errors: [String], others: DocumentValue = [:]
  ) -> DocumentValue {
    var operation: DocumentValue = [
      "operationId": .string(id), "tags": ["Health"], "summary": .string(summary), "description": .string(description),
      "security": [],
    ]
    if !parameters.isEmpty { operation["parameters"] = .array(parameters) }
    operation["responses"] = (["200": ok] as DocumentValue).adding(others).adding(CommonComponents.responses(errors))
    return operation
  }

  private func json(
    _ id: String, _ description: String, _ schema: DocumentValue, status: Int = 200
  ) -> DocumentValue {
    [
      "description": .string(description),
      "content": ["application/json": examples.media(schema, .response(status), of: id)],
    ]
  }

  private func text(_ id: String, _ description: String, status: Int = 200) -> DocumentValue {
    let type = "text/plain; charset=utf-8"
    return [
      "description": .string(description),
      "content": ["text/plain": examples.media(["type": "string"], .response(status), of: id, type: type)],
    ]
  }
}
