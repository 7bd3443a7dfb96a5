import HTTPServer

/// The components to which operations of all kinds refer: errors, headers, parameters, security schemes.
enum CommonComponents {
  /// How a client may authenticate; not at all if etcd has no authentication or the gateway has its own user.
  ///
  /// Each kind of the header has one scheme. Generated clients in Ruby set the header for each scheme in turn, even
  /// without credentials. Basic is last, so that it is the one that stays.
  static let security: DocumentValue = [["bearer": []], ["basic": []], [:]]

  static let securitySchemes: DocumentValue = [
    "basic": [
      "type": "http", "scheme": "basic",
      "description": """
      Name and password of a user of etcd. The gateway logs the user in once and renews the token by itself.
      """,
    ],
    "bearer": [
      "type": "http", "scheme": "bearer",
      "description": """
      A token from `/v3/auth/authenticate`, or a JWT that etcd is configured for. It may also be in \
      `Authorization` without `Bearer`, as clients of etcd's own gateway send it.
      """,
    ],
  ]

  // MARK: - Schemas

  /// None is called `Error`, which is a type in JavaScript, Swift and others.
  static let schemas: [(name: String, schema: DocumentValue)] =
    [
      (
        "ErrorAnswer",
        [
          "type": "object", "description": "What went wrong.", "required": ["error", "message", "code"],
          "properties": [
            "error": ["type": "string", "description": "The message, for clients of etcd 3.4 and 3.5."],
            "message": ["type": "string", "description": "What went wrong, in etcd's words or the gateway's."],
            "code": grpcCode,
          ],
        ]
      ),
      (
        "StreamError",
        [
          "type": "object", "description": "Why a stream has ended after it had begun with status 200.",
          "required": ["grpc_code", "http_code", "message", "http_status", "code"],
          "properties": [
            "grpc_code": grpcCode,
            "http_code": ["type": "integer", "description": "The status of the error before the first line."],
            "message": ["type": "string", "description": "What went wrong."],
            "http_status": ["type": "string", "description": "The name of that status."],
            "code": ["type": "integer", "description": "The same as `grpc_code`."],
          ],
        ]
      ),
    ]

  private static let grpcCode: DocumentValue = [
    "type": "integer", "minimum": 1, "maximum": 16,
    "description": """
    The code of the error in gRPC, such as 3 (InvalidArgument), 5 (NotFound), 7 (PermissionDenied), 11 (OutOfRange), \
    14 (Unavailable).
    """,
  ]

  // MARK: - Headers

  static let headers: DocumentValue = [
    "X-Request-Id": [
      "description": """
      The ID of the request in the gateway's logs: its own `X-Request-Id`, if that is 1 to 128 visible characters of \
      ASCII, or one that the gateway has made.
      """,
      "schema": ["type": "string", "pattern": "^[!-~]{1,128}$"],
    ],
    "WWW-Authenticate": [
      "description": """
      What to log in with: a user and password (`Basic`, RFC 7617) or a token (`Bearer`, RFC 6750), each in a header of \
      its own. A request that came with a user and password, and whose `Accept` names a type that programs ask for, \
      such as `application/json`, is asked for a token alone.
      """,
      "required": true, "schema": ["type": "string"],
      "example": "Basic realm=\"etcd\"",
    ],
    "Retry-After": [
      "description": "After how many seconds to try again.",
      "schema": ["type": "string", "pattern": "^[0-9]+$"],
    ],
    "Preference-Applied": [
      "description": "`handling=strict`, if the request preferred it (RFC 7240).", "schema": ["type": "string"],
    ],
  ]

  // MARK: - Parameters

  /// Headers of all requests are described in the introduction: as parameters they would become arguments of every
  /// method of a generated client.
  static let parameters: DocumentValue = [
    "heartbeat": [
      "name": "heartbeat", "in": "query",
      "description": """
      How often to send an empty line if there is nothing else to send: a time such as `15s` or `1m`, from 1s to 1h.
      """,
      "schema": ["type": "string", "pattern": "^([1-9][0-9]{0,2}s|[1-9][0-9]?m|1h)$"], "example": "15s",
    ]
  ]

  // MARK: - Errors

  /// The statuses of errors, and their meanings.
  static let errors: [(status: String, name: String, description: String)] = [
    (
      "400", "BadRequest",
      """
      The request is malformed, or etcd refuses it as it stands (InvalidArgument, FailedPrecondition, OutOfRange).
      """
    ),
    ("401", "Unauthorized", "Credentials are missing or wrong."),
    ("403", "Forbidden", "The user does not have the permission."),
    ("404", "NotFound", "The key, lease, lock or other object of the request does not exist."),
    ("409", "Conflict", "Another client holds the lock or leads."),
    ("410", "Gone", "The revision has been compacted."),
    (
      "412", "PreconditionFailed",
      "A condition of the request (`If-Match`, `If-None-Match`) does not hold. Nothing was changed."
    ),
    ("413", "TooLarge", "The request's body is too large for the gateway or etcd."),
    ("415", "UnsupportedMediaType", "The request's body is compressed."),
    (
      "429", "TooManyRequests",
      """
      Too many requests or streams, too many failed logins (`Retry-After` says when to try again), \
      or a full database.
      """
    ),
    ("431", "HeadersTooLarge", "The request's headers are too large for the gateway."),
    ("500", "InternalError", "etcd failed to execute the call."),
    ("501", "NotImplemented", "This version of etcd does not know the call."),
    (
      "502", "BadGateway",
      "The server behind the gateway is not etcd, or its answer is invalid. A write may have been executed."
    ),
    (
      "503", "Unavailable",
      """
      No member of etcd can be reached, one was lost during the call, or the members have no leader. A write may have \
      been executed: the message says so if that is unknown.
      """
    ),
    ("504", "TimedOut", "The time limit of the call has passed. A write may have been executed."),
  ]

  /// The component responses for all of them.
  static var responses: DocumentValue {
    var responses: DocumentValue = [:]
    for error in errors {
      var response: DocumentValue = ["description": .string(error.description)]
      switch error.status {
      case "401": response["headers"] = ["WWW-Authenticate": .component("headers", "WWW-Authenticate")]
      case "429", "503": response["headers"] = ["Retry-After": .component("headers", "Retry-After")]
      default: break
      }
      response["content"] = ["application/json": ["schema": .schema("ErrorAnswer")]]
      responses[error.name] = response.withRequestID
    }
    return responses
  }

  /// References to the errors of an operation.
  static func responses(_ statuses: [String]) -> DocumentValue {
    var responses: DocumentValue = [:]
    for error in errors where statuses.contains(error.status) {
      responses[error.status] = .component("responses", error.name)
    }
    precondition(responses.members.count == statuses.count, "an error is not described")
    return responses
  }
}

extension DocumentValue {
  /// A response with the header of every response.
  fileprivate var withRequestID: DocumentValue {
    guard self["$ref"] == nil else { return self }
    var response = self
    var headers = response["headers"] ?? [:]
    headers["X-Request-Id"] = .component("headers", "X-Request-Id")
    response["headers"] = headers
    return response
  }

  /// An operation whose responses have the header of every response.
  var withRequestIDs: DocumentValue {
    guard let responses = self["responses"] else { return self }
    var operation = self
    operation["responses"] = .object(responses.members.map { .init(name: $0.name, value: $0.value.withRequestID) })
    return operation
  }
}
