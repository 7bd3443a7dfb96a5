import TestSupport

/// Every unary route with a success and an error of etcd's.
enum RouteTable {
  static var all: [RouteCall] { alone + learner + pair }

  /// Routes for which etcd has no error, and the reason.
  static let withoutError = [
    "/v3/maintenance/status": "3.4 and 3.5.1 answer it in any state of the member, to anyone"
  ]

  /// In this order, to the only member of a fresh cluster.
  static let alone = keyValue + leases + locks + elections + members + maintenance + auth

  private static let keyValue: [RouteCall] = [
    .ok("/v3/kv/put", ["key": "YQ==", "value": "MQ=="], ["header": ["revision": "2"]]),
    .ok("/v3/kv/put", ["key": "YQ==", "value": "Mg==", "prev_kv": true], ["prev_kv": ["value": "MQ=="]]),
    .error("/v3/kv/put", ["value": "MQ=="], 400, 3, "etcdserver: key is not provided"),
    .error("/v3/kv/put", ["key": "YQ==", "lease": "404"], 404, 5, "etcdserver: requested lease not found"),
    .ok("/v3/kv/range", ["key": "YQ=="], ["count": "1", "kvs": [["key": "YQ==", "value": "Mg==", "version": "2"]]]),
    .error("/v3/kv/range", [:], 400, 3, "etcdserver: key is not provided"),
    .error(
      "/v3/kv/range", ["key": "YQ==", "revision": "999"], 400, 11,
      "etcdserver: mvcc: required revision is a future revision"),
    .ok(
      "/v3/kv/txn",
      [
        "compare": [["key": "YQ==", "target": "VERSION", "version": "2"]],
        "success": [["request_put": ["key": "Yg==", "value": "MQ=="]], ["request_range": ["key": "YQ=="]]],
      ],
      ["succeeded": true, "responses": [["response_put": "*"], ["response_range": ["count": "1"]]]]),
    .error(
      "/v3/kv/txn", ["success": [["request_put": ["key": "Yg=="]], ["request_put": ["key": "Yg=="]]]], 400, 3,
      "etcdserver: duplicate key given in txn request"),
    .ok(
      "/v3/kv/deleterange", ["key": "Yg==", "prev_kv": true], ["deleted": "1", "prev_kvs": [["key": "Yg=="]]],
      keep: ["revision": "header.revision"]),
    .error("/v3/kv/deleterange", [:], 400, 3, "etcdserver: key is not provided"),
    .ok("/v3/kv/compaction", ["revision": "$revision"]),
    .error(
      "/v3/kv/compaction", ["revision": "$revision"], 400, 11, "etcdserver: mvcc: required revision has been compacted"),
  ]

  private static let leases: [RouteCall] = [
    .ok("/v3/lease/grant", ["TTL": "600"], ["ID": "*", "TTL": "600"], keep: ["lease": "ID"]),
    .ok("/v3/lease/grant", ["TTL": "600", "ID": "77"], ["ID": "77"]),
    .ok("/v3/lease/grant", ["TTL": "600", "ID": "78"], ["ID": "78"]),
    .error("/v3/lease/grant", ["TTL": "600", "ID": "77"], 400, 9, "etcdserver: lease already exists"),
    .error("/v3/lease/grant", ["TTL": "9999999999"], 400, 11, "etcdserver: too large lease TTL"),
    .ok("/v3/kv/put", ["key": "bA==", "lease": "77"]),
    .ok("/v3/lease/timetolive", ["ID": "77", "keys": true], ["ID": "77", "grantedTTL": "600", "keys": ["bA=="]]),
    .ok("/v3/kv/lease/timetolive", ["ID": "77"], ["ID": "77", "grantedTTL": "600"]),
    .ok("/v3/lease/timetolive", ["ID": "404"], ["ID": "404", "TTL": "-1"]),
    .ok("/v3/lease/leases", [:], ["leases": ["*", "*", "*"]]),
    .ok("/v3/kv/lease/leases", [:], ["leases": ["*", "*", "*"]]),
    .ok("/v3/lease/revoke", ["ID": "77"]),
    .ok("/v3/kv/lease/revoke", ["ID": "78"]),
    .error("/v3/lease/revoke", ["ID": "77"], 404, 5, "etcdserver: requested lease not found"),
    .error("/v3/kv/lease/revoke", ["ID": "78"], 404, 5, "etcdserver: requested lease not found"),
  ]

  // Lock and election use a client of etcd's inside etcd; its errors lose their code on the way.
  private static let locks: [RouteCall] = [
    .ok("/v3/lock/lock", ["name": "bA==", "lease": "$lease"], ["key": "*"], keep: ["lock": "key"]),
    .error("/v3/lock/lock", ["name": "bA==", "lease": "404"], 500, 2, "etcdserver: requested lease not found"),
    .ok("/v3/lock/unlock", ["key": "$lock"]),
    .error("/v3/lock/unlock", [:], 500, 2, "etcdserver: key is not provided"),
  ]

  private static let elections: [RouteCall] = [
    .error("/v3/election/leader", ["name": "ZQ=="], 500, 2, "election: no leader"),
    .ok(
      "/v3/election/campaign", ["name": "ZQ==", "lease": "$lease", "value": "MQ=="],
      ["leader": ["name": "ZQ==", "lease": "$lease"]], keep: ["leader": "leader"]),
    .error(
      "/v3/election/campaign", ["name": "ZQ==", "lease": "404"], 500, 2, "etcdserver: requested lease not found"),
    .ok("/v3/election/leader", ["name": "ZQ=="], ["kv": ["value": "MQ==", "lease": "$lease"]]),
    .ok("/v3/election/proclaim", ["leader": "$leader", "value": "Mg=="]),
    .ok("/v3/election/resign", ["leader": "$leader"]),
    .error("/v3/election/proclaim", ["leader": "$leader", "value": "Mw=="], 500, 2, "election: not leader"),
    .error("/v3/election/resign", [:], 500, 2, "\"leader\" field must be provided"),
  ]

  private static let members: [RouteCall] = [
    .ok("/v3/cluster/member/list", [:], ["members": [["name": "m0", "clientURLs": ["*"], "peerURLs": ["*"]]]]),
    .ok(
      "/v3/cluster/member/add", ["peerURLs": ["http://127.0.0.1:1"], "isLearner": true],
      ["member": ["peerURLs": ["http://127.0.0.1:1"], "isLearner": true], "members": ["*", "*"]],
      keep: ["added": "member.ID"]),
    .error("/v3/cluster/member/add", ["peerURLs": ["x"]], 400, 3, "etcdserver: given member URLs are invalid"),
    .error(
      "/v3/cluster/member/add", ["peerURLs": ["http://127.0.0.1:2"], "isLearner": true], 400, 9,
      "etcdserver: too many learner members in cluster"),
    .ok(
      "/v3/cluster/member/update", ["ID": "$added", "peerURLs": ["http://127.0.0.1:3"]], ["members": ["*", "*"]]),
    .error(
      "/v3/cluster/member/update", ["ID": "1", "peerURLs": ["http://127.0.0.1:3"]], 404, 5,
      "etcdserver: member not found"),
    .error("/v3/cluster/member/promote", ["ID": "1"], 404, 5, "etcdserver: member not found"),
    .ok("/v3/cluster/member/remove", ["ID": "$added"], ["members": ["*"]]),
    .error("/v3/cluster/member/remove", ["ID": "1"], 404, 5, "etcdserver: member not found"),
  ]

  private static let maintenance: [RouteCall] = [
    .ok(
      "/v3/maintenance/alarm", ["action": "ACTIVATE", "memberID": "1", "alarm": "NOSPACE"],
      ["alarms": [["memberID": "1", "alarm": "NOSPACE"]]]),
    .error("/v3/kv/put", ["key": "YQ==", "value": "MQ=="], 429, 8, "etcdserver: mvcc: database space exceeded"),
    .ok("/v3/maintenance/alarm", ["action": "DEACTIVATE", "memberID": "1", "alarm": "NOSPACE"]),
    .ok("/v3/maintenance/status", [:], ["version": "*", "dbSize": "*", "leader": "*", "raftTerm": "*"]),
    .ok("/v3/maintenance/defragment"),
    .ok("/v3/maintenance/hash", [:], ["hash": "*"]),
    .ok("/v3/maintenance/hashkv", [:], ["hash": "*"]),
    .error(
      "/v3/maintenance/hashkv", ["revision": "99999"], 400, 11,
      "etcdserver: mvcc: required revision is a future revision"),
    .error("/v3/maintenance/transfer-leadership", ["targetID": "1"], 400, 9, "etcdserver: bad leader transferee"),
    .ok("/v3/maintenance/downgrade", ["version": "3.4.0"], ["version": "3.5.0"], since: "3.5.0"),
    .error(
      "/v3/maintenance/downgrade", ["version": "x"], 400, 3, "etcdserver: wrong downgrade target version format",
      since: "3.5.0"),
  ]

  private static let root = "root:rootpw"
  private static let guest = "guest:guestpw"

  private static let auth: [RouteCall] = [
    .ok("/v3/auth/status", [:], ["authRevision": "*"], since: "3.5.0"),
    .error("/v3/auth/enable", [:], 400, 9, "etcdserver: root user does not exist"),
    .error(
      "/v3/auth/authenticate", ["name": "root", "password": "rootpw"], 400, 9,
      "etcdserver: authentication is not enabled"),

    .ok("/v3/auth/user/add", ["name": "root", "password": "rootpw"]),
    .ok("/v3/auth/user/add", ["name": "guest", "password": "x"]),
    .ok("/v3/auth/user/add", ["name": "other", "password": "x"]),
    .error(
      "/v3/auth/user/add", ["name": "guest", "password": "x"], 400, 9, "etcdserver: user name already exists"),
    .ok("/v3/auth/user/list", [:], ["users": ["guest", "other", "root"]]),
    .ok("/v3/auth/user/changepw", ["name": "guest", "password": "guestpw"]),
    .error(
      "/v3/auth/user/changepw", ["name": "nobody", "password": "x"], 400, 9, "etcdserver: user name not found"),
    .ok("/v3/auth/user/delete", ["name": "other"]),
    .error("/v3/auth/user/delete", ["name": "other"], 400, 9, "etcdserver: user name not found"),

    .ok("/v3/auth/role/add", ["name": "root"]),
    .ok("/v3/auth/role/add", ["name": "reader"]),
    .error("/v3/auth/role/add", ["name": "root"], 400, 9, "etcdserver: role name already exists"),
    .ok("/v3/auth/role/list", [:], ["roles": ["reader", "root"]]),
    .ok("/v3/auth/role/grant", ["name": "reader", "perm": ["permType": "READ", "key": "YQ=="]]),
    .error(
      "/v3/auth/role/grant", ["name": "none", "perm": ["key": "YQ=="]], 400, 9, "etcdserver: role name not found"),
    .ok("/v3/auth/role/get", ["role": "reader"], ["perm": [["key": "YQ=="]]]),
    .error("/v3/auth/role/get", ["role": "none"], 400, 9, "etcdserver: role name not found"),
    .ok("/v3/auth/role/revoke", ["role": "reader", "key": "YQ=="]),
    .error(
      "/v3/auth/role/revoke", ["role": "reader", "key": "YQ=="], 400, 9,
      "etcdserver: permission is not granted to the role"),

    .ok("/v3/auth/user/grant", ["user": "root", "role": "root"]),
    .ok("/v3/auth/user/grant", ["user": "guest", "role": "reader"]),
    .error("/v3/auth/user/grant", ["user": "nobody", "role": "reader"], 400, 9, "etcdserver: user name not found"),
    .ok("/v3/auth/user/get", ["name": "guest"], ["roles": ["reader"]]),
    .error("/v3/auth/user/get", ["name": "nobody"], 400, 9, "etcdserver: user name not found"),
    .ok("/v3/auth/user/revoke", ["name": "guest", "role": "reader"]),
    .error(
      "/v3/auth/user/revoke", ["name": "guest", "role": "reader"], 400, 9,
      "etcdserver: role is not granted to the user"),
    .ok("/v3/auth/role/delete", ["role": "reader"]),
    .error("/v3/auth/role/delete", ["role": "reader"], 400, 9, "etcdserver: role name not found"),

    .ok("/v3/auth/enable"),
    .ok("/v3/auth/authenticate", ["name": "guest", "password": "guestpw"], ["token": "*"]),
    .error(
      "/v3/auth/authenticate", ["name": "guest", "password": "x"], 400, 3,
      "etcdserver: authentication failed, invalid user ID or password"),
    .error("/v3/kv/range", ["key": "YQ=="], 403, 7, "etcdserver: permission denied", user: guest),
    .error("/v3/auth/status", [:], 403, 7, "etcdserver: permission denied", user: guest, since: "3.5.0"),
    .error("/v3/auth/user/list", [:], 403, 7, "etcdserver: permission denied", user: guest),
    .error("/v3/auth/role/list", [:], 403, 7, "etcdserver: permission denied", user: guest),
    .error("/v3/auth/disable", [:], 403, 7, "etcdserver: permission denied", user: guest),
    .error("/v3/maintenance/hash", [:], 403, 2, "auth: permission denied", user: guest),
    .error("/v3/maintenance/defragment", [:], 403, 2, "auth: permission denied", user: guest),
    .ok("/v3/auth/disable", [:], [:], user: root),
  ]

  /// For a member that is no voter yet.
  static let learner: [RouteCall] = [
    "/v3/lease/leases", "/v3/kv/lease/leases", "/v3/lease/timetolive", "/v3/kv/lease/timetolive",
    "/v3/cluster/member/list", "/v3/maintenance/alarm",
  ].map { .error($0, [:], 503, 14, "etcdserver: rpc not supported for learner") }

  /// In this order, for the leader of a cluster with a running learner, `$learner`.
  static let pair: [RouteCall] = [
    .ok("/v3/cluster/member/promote", ["ID": "$learner"], ["members": ["*", "*"]], isPatient: true),
    .error("/v3/cluster/member/promote", ["ID": "$learner"], 400, 9, "etcdserver: can only promote a learner member"),
    .ok("/v3/maintenance/transfer-leadership", ["targetID": "$learner"]),
    .error("/v3/maintenance/transfer-leadership", ["targetID": "$learner"], 400, 9, "etcdserver: not leader"),
  ]
}
