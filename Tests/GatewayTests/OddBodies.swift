/// Bodies at the edge of JSON and of protobuf's JSON that the gateways inside etcd 3.4.23 and 3.5.1 and etcd-rest treat
/// alike. Those that they treat differently are samples of `DeliberateDifferences`.
enum OddBodies {
  static let all: [Request] = documents.map { Request("/v3/kv/range", $0) } + members.map { .range(with: $0) } + others

  private static let documents = [
    "", " ", "\n", "{}", #"{"key":null}"#, #"{"key":""}"#, #" \#n{ "key" : "YQ==" }\#t "#, #"{"\u006bey":"\u0059Q=="}"#,
    #"{"KEY":"YQ=="}"#, #"{"key":"YQ=="} trailing"#, #"{"key":"YQ=="}{"key":"Yg=="}"#, #"{"key":"YQ=="}]"#,
    "{\"key\":\"YQ==\"}\0", "\0", "null", "[]", "42", #""x""#, "true", "NaN", "\u{feff}{}", "{", "}", "]", #"{"key""#,
    #"{"key":"#, #"{"key":"YQ=="#, #"{"key" "YQ=="}"#, #"{key:"YQ=="}"#, "{'key':'YQ=='}", #"{,"key":"YQ=="}"#,
    #"{"key":"YQ==",}"#, #"{"key":"YQ==",,}"#, #"{"key":"YQ==";}"#, #"{"key":"YQ==" /* a key */}"#, #"{"key":5}"#,
    #"{"key":{}}"#, #"{"key":[]}"#, #"{"key":true}"#, #"{"key":"Y"}"#, #"{"key":"YQ="}"#, #"{"key":"YQ===="}"#,
    #"{"key":"***"}"#, #"{"key":"Y Q="}"#, #"{"key":"+_8="}"#, #"{"key":"="}"#, #"{"key":"YR=="}"#, #"{"key":"+/8="}"#,
    #"{"key":"\ud800"}"#,
  ]

  private static let members = [
    #""nope":[{"a":[1,null,"x"]}]"#, #""x":1,"x":2"#, #""":1"#, #""@type":"x""#, #""range_End":"Yg==""#,
    #""rangeEnd":"Yg==""#, #""x":"\ud83d\ude00""#, "\"x\":\"\u{1}\"", #""x":"\x""#, "\"x\":\"a\nb\"", #""x":NaN"#,
    #""x":tru"#, #""x":nul"#, #""limit":5"#, #""limit":"5""#, #""limit":-0"#, #""limit":"-5""#, #""limit":null"#,
    #""limit":9223372036854775807"#, #""limit":"9223372036854775807""#, #""limit":9223372036854775808"#,
    #""limit":"9223372036854775808""#, #""limit":-9223372036854775809"#, #""limit":1.5"#, #""limit":"x""#,
    #""limit":"""#, #""limit":"+5""#, #""limit":"05""#, #""limit":007"#, #""limit":true"#, #""limit":[]"#,
    #""limit":{}"#, #""limit":NaN"#, #""limit":+5"#, #""limit":.5"#, #""limit":5."#, #""limit":0x5"#, #""limit":1e"#,
    #""limit":-"#, #""limit":1e400"#, #""limit":1e-400"#, #""limit":"1_0""#, #""limit":"0x5""#,
    #""sort_order":"ASCEND""#, #""sort_order":1"#, #""sort_order":null"#,
    #""sort_order":true"#, #""sort_order":1.5"#, #""sort_order":[]"#, #""keys_only":true"#, #""keys_only":null"#,
    #""keys_only":"true""#, #""keys_only":1"#, #""keys_only":0"#, #""serializable":"false""#,
  ]

  private static let others = [
    Request("/v3/kv/txn", "{}"),
    Request("/v3/kv/txn", #"{"success":null}"#),
    Request("/v3/kv/txn", #"{"success":{}}"#),
    Request("/v3/kv/txn", #"{"success":"x"}"#),
    Request("/v3/kv/txn", #"{"success":[{}]}"#),
    Request("/v3/kv/txn", #"{"success":[{"request_range":null}]}"#),
    Request("/v3/kv/txn", #"{"compare":[{"key":"YQ==","target":"LEASE","lease":"1"}]}"#),
    Request("/v3/lease/grant", #"{"TTL":"600","ID":"9"}"#),
    Request("/v3/lease/grant", #"{"ttl":"600","ID":"10"}"#),
    Request("/v3/lease/revoke", #"{"ID":9}"#),
    Request("/v3/lease/revoke", #"{"id":10}"#),
    Request("/v3/auth/user/add", #"{"name":5}"#),
    Request("/v3/auth/user/add", #"{"name":null}"#),
    Request("/v3/auth/user/add", #"{"name":true}"#),
    Request("/v3/auth/user/add", #"{"name":[]}"#),
    Request("/v3/auth/user/add", #"{"name":"\u0000"}"#),
    Request("/v3/auth/user/add", #"{"name":"\u00fc"}"#),
    Request("/v3/auth/user/add", #"{"name":"a","options":{"noPassword":true}}"#),
    Request("/v3/auth/user/add", #"{"name":"b","options":null}"#),
    Request("/v3/auth/user/add", #"{"name":"c","options":[]}"#),
    Request("/v3/auth/user/add", #"{"name":"d","options":"x"}"#),
    Request("/v3/auth/user/list", "{}"),
  ]
}
