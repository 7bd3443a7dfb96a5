// What a client that OpenAPI Generator made for Swift does with a live gateway: URL USER PASSWORD. See python.py.
import Foundation
import FoundationNetworking
import OpenAPIClient

func done(_ step: String) { print("ok: \(step)") }

struct Fault: Error { let what: String }

func check(_ holds: Bool, _ what: Any) throws {
  if !holds { throw Fault(what: "not as it should be: \(what)") }
}

/// The status and the body of an answer that is an error.
func refusal(_ call: @Sendable () async throws -> some Sendable) async throws -> (status: Int, answer: ErrorAnswer) {
  do {
    _ = try await call()
  } catch ErrorResponse.error(let status, let body, _, _) {
    return (status, try JSONDecoder().decode(ErrorAnswer.self, from: body ?? Data()))
  }
  throw Fault(what: "it was done")
}

@main
struct Check {
  static func main() async throws {
    let (url, user, password) = (CommandLine.arguments[1], CommandLine.arguments[2], CommandLine.arguments[3])

    // example
    let client = OpenAPIClientAPIConfiguration.shared
    client.basePath = url
    client.credential = URLCredential(user: user, password: password, persistence: .none)
    let written = try await KeysAPI.putKey(keyPut: KeyPut(key: "app/color", value: "green"))
    let color = try await KeysAPI.listKeys(key: "app/color")
    print(color.value ?? "", color.modRevision ?? 0)
    do {
      _ = try await KeysAPI.putKey(keyPut: KeyPut(key: "app/color", value: "grey", ifAbsent: true))
    } catch .error(let status, let body, _, _) {
      print(status, try JSONDecoder().decode(ErrorAnswer.self, from: body ?? Data()).message)
    }
    // end
    done("put text")

    _ = try await KeysAPI.putKey(keyPut: KeyPut(key: "app/bytes", valueBase64: Data([0, 255])))
    done("put bytes")

    try check(color.value == "green" && color.modRevision == written.revision && color.lease == "0", color)
    let read = try await KeysAPI.listKeys(key: "app/bytes")
    try check(read.value == nil && read.valueBase64 == Data([0, 255]), read)
    let value = try await KeysAPI.getKey(key: "app/color")
    try check(value == "green", value)
    done("get")

    let first = try await KeysAPI.listKeys(_prefix: "app/", limit: 1)
    let second = try await KeysAPI.listKeys(_prefix: "app/", limit: 1, cursor: first.cursor)
    let names = ((first.keys ?? []) + (second.keys ?? [])).map(\.key)
    try check(names == ["app/bytes", "app/color"] && first.count == 2 && second.cursor == nil, (first, second))
    done("list two pages")

    let loss = try await refusal {
      try await KeysAPI.putKey(keyPut: KeyPut(key: "app/color", value: "grey", ifAbsent: true))
    }
    try check(loss.status == 412 && loss.answer.code == 9 && !loss.answer.message.isEmpty, loss)
    done("a put that loses: 412, typed")

    let deleted = try await KeysAPI.deleteKey(key: "app/bytes")
    try check(deleted.deleted == 1, deleted)
    done("delete")

    let transaction = Transaction(
      _if: [Comparison(key: "app/color", modRevision: written.revision)],
      then: [
        TransactionOperation(put: PutOperation(key: "app/color", value: "red")),
        TransactionOperation(_get: GetOperation(key: "app/color")),
      ])
    let answer = try await TransactionsAPI.commitTransaction(transaction: transaction)
    try check(answer.succeeded && answer.responses.last?._get?.value == "red", answer)
    done("transaction")

    let lease = try await LeasesAPI.grantLease(leaseGrant: LeaseGrant(ttl: "60s"))
    let renewed = try await LeasesAPI.keepLeaseAlive(id: lease.id)
    try check(lease.ttl == 60 && renewed.ttl == 60, lease)
    _ = try await KeysAPI.putKey(keyPut: KeyPut(key: "app/leased", value: "for a while", lease: lease.id))
    let left = try await LeasesAPI.getLease(id: lease.id, keys: true)
    try check(left.keys?.first?.key == "app/leased", left)
    _ = try await LeasesAPI.revokeLease(id: lease.id)
    done("lease")

    let held = try await LocksAPI.acquireLock(name: "jobs", lockAcquisition: LockAcquisition(ttl: "60s"))
    let taken = try await refusal {
      try await LocksAPI.acquireLock(name: "jobs", lockAcquisition: LockAcquisition(ttl: "60s", wait: "0s"))
    }
    try check(taken.status == 409, taken)
    _ = try await LocksAPI.releaseLock(name: "jobs", lease: held.lease)
    done("lock")

    async let wait = ChangesAPI.getChanges(key: "app/color", since: answer.revision, wait: "30s")
    let put = try await KeysAPI.putKey(keyPut: KeyPut(key: "app/color", value: "blue"))
    let changes = try await wait
    let event = changes.events.first
    try check(changes.revision == put.revision && event?.type == .put && event?.value == "blue", changes)
    done("long poll")

    let kv = try await KVAPI.kvRange(rangeRequest: RangeRequest(key: Data("app/color".utf8))).kvs?.first
    try check(kv?.value == Data("blue".utf8) && kv?.modRevision == String(put.revision), kv as Any)
    done("/v3 range")

    client.credential = URLCredential(user: user, password: "wrong", persistence: .none)
    let wrong = try await refusal { try await KeysAPI.listKeys(key: "app/color") }
    try check(wrong.status == 401 && wrong.answer.code == 3, wrong)
    done("wrong password: 401, typed")
  }
}
