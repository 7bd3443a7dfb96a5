// The text about the operations in the API's description. Computed on demand, so that it takes no memory before.

extension KeyOperation {
  /// What the operation does, in a few words.
  var summary: String {
    switch self {
    case .getKey: "Get a key"
    case .putValue: "Put a key whose value is the body"
    case .putKey: "Put a key"
    case .importKeys: "Put all keys of an export"
    case .deleteKey: "Delete a key"
    case .watchKey: "Watch a key"
    case .awaitKey: "Wait for a key to change"
    case .listKeys: "List keys, page by page"
    case .exportKeys: "Export all keys of a range at one revision"
    case .watchKeys: "Watch the keys of a range"
    case .awaitKeys: "Wait for a key of a range to change"
    case .deleteKeys: "Delete the keys of a range"
    }
  }

  /// What the operation does, in Markdown.
  var text: String {
    switch self {
    case .getKey:
      """
      Answers with the bytes of the value. A value that is UTF-8 is `text/plain` if the request accepts that. \
      The key as JSON, with its versions, is the answer of `GET /keys?key=KEY`, and of this path if the request accepts \
      `application/json`. The `ETag` is the key's mod revision: `If-None-Match` omits the value of a key that has not \
      changed (304).
      """
    case .putKey:
      """
      Key, value and conditions are members of a JSON object. `if_mod_revision` and `if_absent` are checked in the \
      transaction that puts; if they do not hold, the answer is 412 with the key's `ETag`.
      """
    case .importKeys:
      """
      Each line of the body is a put: a line of an export, or the `key` and `value` of a single put. The body may have \
      any length; its lines are put as they arrive, in transactions. The first line that cannot be put ends it with an \
      error that has its number in `line`; all lines before it were put then. With `skip_errors=true` such lines are \
      skipped.
      """
    case .putValue:
      """
      The request's body becomes the value, byte for byte. With `If-Match` (a tag, or `*` for any) the key must be of \
      that mod revision, with `If-None-Match: *` it must not exist: both are checked in the transaction that writes. \
      If they do not hold, the answer is 412 with the key's `ETag`.
      """
    case .deleteKey:
      "Deletes a key; with `If-Match` only if it has that mod revision. A key that does not exist gets 404."
    case .watchKey, .watchKeys:
      """
      Sends changes as they happen: JSON documents, each a line, or Server-Sent Events if the request accepts \
      `text/event-stream`, until the client disconnects.
      """
    case .awaitKey, .awaitKeys:
      """
      Answers with the first changes after a revision, as soon as there are any, or with none at the end of the time.
      """
    case .listKeys:
      """
      The keys of a range in pages, all of one revision. If there are more, the answer has a `cursor`, which goes into \
      the same request for the next page. `count` is that of all keys in the range. Without `prefix`, `from` and `to` \
      the range has all keys.
      """
    case .exportKeys:
      """
      All keys of a range as they were at one revision, which `X-Etcd-Revision` names: JSON documents, each a line, \
      however many there are. The connection is cut if the rest cannot be read, so that a part is never taken for \
      the whole.
      """
    case .deleteKeys:
      "Deletes the keys of a range in one transaction. All keys are deleted only with `all=true`."
    }
  }

  /// Its conditions, which are header fields.
  var conditions: [StaticString] {
    switch self {
    case .getKey, .putValue: ["If-Match", "If-None-Match"]
    case .deleteKey: ["If-Match"]
    default: []
    }
  }

  /// The statuses of its answers besides those of any request, and their meaning here.
  var statuses: [(status: UInt32, meaning: String)] {
    let badRequest: (UInt32, String) = (400, "The request is invalid; the message says why")
    let gone: (UInt32, String) = (410, "The revision was compacted")
    return switch self {
    case .getKey:
      [
        (200, "The value"), (304, "The key has the mod revision of the request"), badRequest,
        (404, "The key does not exist"), gone, (412, "The key does not have the mod revision of the request"),
      ]
    case .putValue, .putKey:
      [
        (200, "The key was put"), badRequest, (404, "The lease does not exist"),
        (412, "The request's condition does not hold"), (413, "The value is too large"),
      ]
    case .importKeys:
      [(200, "All keys were put"), badRequest, (404, "The lease does not exist"), (413, "A line is too large")]
    case .deleteKey:
      [
        (200, "The key was deleted"), badRequest, (404, "The key does not exist"),
        (412, "The key does not have the mod revision of the request"),
      ]
    case .listKeys: [(200, "A page"), badRequest, gone]
    case .exportKeys: [(200, "All keys"), badRequest, gone]
    case .watchKey, .watchKeys: [(200, "The changes"), badRequest]
    case .awaitKey, .awaitKeys: [(200, "The changes, if any"), badRequest, gone]
    case .deleteKeys: [(200, "The keys were deleted"), badRequest]
    }
  }
}

extension QueryParameter {
  /// The meaning, in Markdown.
  var text: String {
    switch self {
    case .key:
      "The key of the request, as in the path `/keys/{key}`. For clients behind a proxy that decodes paths "
        + "or merges slashes: it does not change the query."
    case .prefix: "The keys that begin with these bytes; with none, all keys."
    case .from: "The first key of the range, which need not exist. Without it the range has no beginning."
    case .to: "The end of the range: the key after its last one. Without it the range has no end."
    case .revision: "Read the keys as they were at this revision of the store."
    case .serializable:
      "Read from one member, which may lag behind the others, without asking them."
    case .limit: "The maximum number of keys of a page."
    case .cursor: "The `cursor` of the previous page. The other parameters must be those of that page's request."
    case .keysOnly: "Leave out the values."
    case .countOnly: "Answer only with the number of keys of the range."
    case .sort:
      "The order of the keys. In any order but that of `key` there is only one page, and `more` says whether the range "
        + "has more keys."
    case .order: "Ascending or descending order."
    case .minModRevision: "Leave out keys that were last changed before this revision."
    case .maxModRevision: "Leave out keys that were last changed after this revision."
    case .minCreateRevision: "Leave out keys that were created before this revision."
    case .maxCreateRevision: "Leave out keys that were created after this revision."
    case .lease:
      "The ID of the lease to attach the key to, a decimal number; `0` for none. A lease that ends deletes its keys."
    case .ttl:
      "Grant a new lease with this time to live, and attach the key to it. The answer has its ID: renew that lease "
        + "rather than put the key again, as each put grants another one."
    case .prev: "Also answer with the key as it was before."
    case .all: "Confirms that the request selects all keys of the store."
    case .watch: "Send changes as they happen."
    case .since: "Send changes after this revision: the `revision` of an earlier answer, so that no change is missed."
    case .heartbeat:
      "After how long without a change to send a `progress`, which shows that the connection is alive."
    case .wait: "How long to wait for a change."
    case .keys: "Also answer with the keys that are attached to the lease."
    case .skipErrors: "Of an import: skip lines that cannot be put, and report them in the answer."
    }
  }
}
