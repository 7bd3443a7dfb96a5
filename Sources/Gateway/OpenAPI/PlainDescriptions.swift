import HTTPServer

/// The operations of routes that are no RPC and no key: probes, the database as a file, and this description.
struct PlainDescriptions {
  let examples: DocumentExamples

  /// Nil for what is a page for people.
  func operation(_ probe: Probe) -> DocumentValue? {
    switch probe {
    case .landing: nil
    case .version:
      make(
        "version", "Tells the versions of etcd and of its cluster",
        """
        Clients choose the prefix of their paths by it, before they log in: it needs no credentials. It is what a member \
        of etcd answers itself at its own `/version`.
        """,
        ok: json("version", "The versions.", .schema("Versions")),
        errors: ["401", "403", "429", "500", "501", "502", "503", "504"])
    case .health:
      make(
        "health", "Tells whether etcd serves and has no alarm",
        """
        It reads through a quorum, without credentials, and asks for alarms where etcd tells of them. etcd counts as \
        healthy where it denies the read.
        """,
        parameters: [
          Self.serializable,
          Self.query(
            "exclude", "An alarm that shall not count: `NOSPACE` or `CORRUPT`.", ["type": "string"], "NOSPACE"),
        ],
        ok: json("health", "etcd is healthy.", .schema("Health")), errors: [],
        others: ["503": json("health", "etcd is not.", .schema("Health"), status: 503)])
    case .status:
      make(
        "gatewayStatus", "Tells how the gateway and etcd's members are, and were in the last minutes",
        """
        It is what the page at `/` shows, for programs. Members are told as far as etcd tells them without credentials; the \
        history is of the last ten minutes, the oldest first. Where the gateway was started with `--admin-listen`, it is \
        served there alone, and this is 404.
        """,
        ok: json("gatewayStatus", "How they are.", .schema("Status")), errors: ["404"])
    case .livez:
      make(
        "livez", "Tells whether the gateway is alive",
        "It is about the gateway alone: to start it anew would not bring etcd back.",
        ok: text("livez", "It is."), errors: [])
    case .readyz:
      make(
        "readyz", "Tells whether the gateway can serve",
        "It reads through a quorum of etcd's, without credentials; an answer that denies the read proves as much.",
        parameters: [
          Self.serializable,
          Self.query(
            "verbose", "Whatever its value, the answer lists what was looked at.", ["type": "string"], "true"),
        ],
        ok: text("readyz", "It can."), errors: [], others: ["503": text("readyz", "It cannot, and why.", status: 503)])
    }
  }

  /// `GET /metrics`.
  var metrics: DocumentValue {
    make(
      "metrics", "Tells what the gateway has counted",
      """
      It is in the text format of Prometheus. Where the gateway was started with `--admin-listen`, metrics are served there \
      alone, and this is 404.
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
      It is the file that `etcdctl snapshot restore` takes. The gateway verifies the checksum at its end before it lets \
      the last bytes go, and cuts the connection where it is wrong, so that a file of the length announced is whole. \
      With authentication on, it takes the role `root`.
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
      others: ["304": ["description": "It is still the one with the entity tag that `If-None-Match` names."]])
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

  /// The schemas that only these refer to.
  static let schemas: [(name: String, schema: DocumentValue)] = [
    (
      "Versions",
      [
        "type": "object", "description": "Versions of etcd, and of the gateway.",
        "required": ["etcdserver", "etcdcluster", "gateway"],
        "properties": [
          "etcdserver": ["type": "string", "description": "That of the member, such as `3.5.30`."],
          "etcdcluster": ["type": "string", "description": "That of the cluster, such as `3.5.0`."],
          "storage": ["type": "string", "description": "That of the database, since etcd 3.6."],
          "gateway": ["type": "string", "description": "That of the gateway."],
        ],
      ]
    ),
    (
      "Status",
      [
        "type": "object", "description": "How the gateway and etcd are, and were in the last minutes.",
        "required": ["gateway", "healthy", "reason", "etcd", "members", "clients", "interval", "history"],
        "properties": [
          "gateway": ["type": "string", "description": "The version of the gateway."],
          "healthy": ["type": "boolean", "description": "Whether etcd serves and has no alarm."],
          "reason": ["type": "string", "description": "What is wrong; empty where nothing is."],
          "etcd": [
            "type": "object", "description": "What a member tells of itself; empty texts where it does not.",
            "required": ["version", "leader", "db_size"],
            "properties": [
              "version": ["type": "string", "description": "Its version."],
              "leader": ["type": "string", "description": "The leader's name, or else its ID in hexadecimal digits."],
              "db_size": ["type": "string", "format": "int64", "description": "The size of the database, in bytes."],
            ],
          ],
          "members": [
            "type": "array", "description": "The members; where etcd does not tell them, the endpoints.",
            "items": [
              "type": "object", "required": ["name", "id", "endpoints", "leader", "learner", "connection"],
              "properties": [
                "name": ["type": "string", "description": "Its name; empty where it is not told."],
                "id": ["type": "string", "description": "Its ID in hexadecimal digits; empty where it is not told."],
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
            "type": "object", "description": "How many there are now; empty in the first moments.",
            "properties": [
              "connections": ["type": "integer", "description": "Connections, without those of streams."],
              "streams": ["type": "integer", "description": "Streams and WebSockets."],
              "watches": ["type": "integer", "description": "Watches."],
              "users": ["type": "integer", "description": "Users whose tokens are kept."],
            ],
          ],
          "interval": ["type": "integer", "description": "How far the spans of the history are apart, in seconds."],
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
                "watches": ["type": "number", "description": "Watches that there were at its end."],
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
        "type": "object", "description": "How etcd is.", "required": ["health", "reason"],
        "properties": [
          "health": ["type": "string", "enum": ["true", "false"], "description": "Whether it is healthy."],
          "reason": ["type": "string", "description": "What is wrong; empty where nothing is."],
        ],
      ]
    ),
  ]

  private static let serializable = query(
    "serializable", "With `true` the member that answers is enough, without a quorum.", ["type": "string"], "true")

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
