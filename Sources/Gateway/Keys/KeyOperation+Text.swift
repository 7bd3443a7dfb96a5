// What the API's description says of the operations. Made where it is asked for: no memory is spent on it before.

extension KeyOperation {
  /// What it does, in a few words.
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
    case .exportKeys: "Read all keys of a range as they were at one moment"
    case .watchKeys: "Watch the keys of a range"
    case .awaitKeys: "Wait for a key of a range to change"
    case .deleteKeys: "Delete the keys of a range"
    }
  }

  /// What it does, in Markdown.
  var text: String {
    switch self {
    case .getKey:
      """
      Answers with the value's bytes as they are. A value that is UTF-8 is `text/plain` where the request accepts that. \
      The key as JSON, with its versions, is what `GET /keys?key=KEY` answers with, and this where the request accepts \
      `application/json`. The `ETag` is the key's mod revision: `If-None-Match` saves the value of a key that has not \
      changed (304).
      """
    case .putKey:
      """
      Key, value and conditions are members of a JSON object. `if_mod_revision` and `if_absent` are looked at in the \
      transaction that puts; where that loses, the answer is 412 with the `ETag` of the version that is there.
      """
    case .importKeys:
      """
      Each line of the body is a put: what an export has for a key, or `key` and `value` as a single put has them. It may \
      have any length, and is put while it comes, in transactions. The first line that cannot be put ends it with an error \
      that has its number in `line`; all lines before it were put then. With `skip_errors=true` it goes on.
      """
    case .putValue:
      """
      The request's body becomes the value, byte for byte. With `If-Match` (a tag, or `*` for any) the key must be of \
      that version, with `If-None-Match: *` it must not be there: both are looked at in the transaction that writes. \
      Where that loses, the answer is 412 with the `ETag` of the version that is there.
      """
    case .deleteKey:
      "Deletes a key, with `If-Match` only where it is of that version. A key that is not there is a 404."
    case .watchKey, .watchKeys:
      """
      Sends changes as they happen: JSON documents, each a line, or Server-Sent Events where the request accepts \
      `text/event-stream`. Goes on until the client leaves.
      """
    case .awaitKey, .awaitKeys:
      """
      Answers with the first changes after a revision, as soon as there are any, or with none at the end of the time.
      """
    case .listKeys:
      """
      The keys of a range in pages, all of one revision. While there are more an answer has a `cursor`, which goes into \
      the same request for the next page. `count` is that of all keys in the range. Without `prefix`, `from` and `to` \
      the range has all keys.
      """
    case .exportKeys:
      """
      All keys of a range as they were at one revision, which `X-Etcd-Revision` names: JSON documents, each a line, \
      however many there are. The connection is cut where the rest cannot be had, so that a part is never taken for \
      the whole.
      """
    case .deleteKeys:
      "Deletes the keys of a range in one transaction. All keys are deleted only with `all=true`."
    }
  }

  /// The conditions that it takes as headers.
  var conditions: [StaticString] {
    switch self {
    case .getKey, .putValue: ["If-Match", "If-None-Match"]
    case .deleteKey: ["If-Match"]
    default: []
    }
  }

  /// The statuses of its answers, besides those that any request may get, and what each means here.
  var statuses: [(status: UInt32, meaning: String)] {
    let badRequest: (UInt32, String) = (400, "The request makes no sense, as the message says")
    let gone: (UInt32, String) = (410, "The revision was compacted: nobody knows any more what the keys were")
    return switch self {
    case .getKey:
      [
        (200, "The value"), (304, "The key is of the version that the request names"), badRequest,
        (404, "The key is not there"), gone, (412, "The key is not of the version that the request names"),
      ]
    case .putValue, .putKey:
      [
        (200, "The key was put"), badRequest, (404, "The lease is not there"),
        (412, "The key is not as the request wants it to be"), (413, "The value is too large"),
      ]
    case .importKeys:
      [(200, "All keys were put"), badRequest, (404, "The lease is not there"), (413, "A line is too large")]
    case .deleteKey:
      [
        (200, "The key was deleted"), badRequest, (404, "The key is not there"),
        (412, "The key is not of the version that the request names"),
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
  /// What it means, in Markdown.
  var text: String {
    switch self {
    case .key:
      "One key, which is then what the request is about, as at `/keys/{key}`. For clients behind a proxy that decodes "
        + "paths or merges slashes: it leaves the query alone."
    case .prefix: "The keys that begin with these bytes; with none, all keys."
    case .from: "The first key of the range, which need not be there. Without it the range has no beginning."
    case .to: "The key behind the last one of the range. Without it the range has no end."
    case .revision: "The keys as they were at this revision of the store, instead of as they are."
    case .serializable:
      "Be answered by the member that is asked, which may lag behind the others, but needs none of them."
    case .limit: "How many keys a page has at most."
    case .cursor: "The `cursor` of the page before this one. The other parameters are those of that page's request."
    case .keysOnly: "Leave out the values."
    case .countOnly: "Nothing but how many keys the range has."
    case .sort:
      "What the keys are in order of. In any order but that of `key` there is a first page only, and `more` says whether "
        + "there would be others."
    case .order: "Whether the order goes up or down."
    case .minModRevision: "Leave out keys that were last changed before this revision."
    case .maxModRevision: "Leave out keys that were last changed after this revision."
    case .minCreateRevision: "Leave out keys that were created before this revision."
    case .maxCreateRevision: "Leave out keys that were created after this revision."
    case .lease:
      "The lease that the key is attached to, and at the end of which it is deleted: a decimal number; `0` for none."
    case .ttl:
      "Grant a new lease of this time to live, and attach the key to it. The answer has its ID: renew that lease rather "
        + "than put the key again, as each put grants another one."
    case .prev: "Answer with the key as it was before, too."
    case .all: "That all keys of the store are meant."
    case .watch: "Send changes as they happen."
    case .since: "Changes after this revision: the `revision` of an earlier answer, of which nothing is missed then."
    case .heartbeat:
      "After how long without a change to say how far the watch is, so that a quiet connection is seen to be alive."
    case .wait: "How long to wait for a change."
    case .keys: "Tell the keys, too, that are attached to the lease."
    case .skipErrors: "Of an import: pass over lines that cannot be put, and tell of them in the answer."
    }
  }
}
