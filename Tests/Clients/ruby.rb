# What a client that OpenAPI Generator made for Ruby does with a live gateway: URL USER PASSWORD. See python.py.
require "base64"
require "openapi_client"

url, user, password = ARGV

def done(step)
  puts "ok: #{step}"
  $stdout.flush
end

def check(holds, what)
  raise "not as it should be: #{what.inspect}" unless holds
end

# The status and the body of an answer that is an error.
def refusal
  yield
rescue OpenapiClient::ApiError => error
  [error.code, OpenapiClient::ErrorAnswer.build_from_hash(JSON.parse(error.response_body, symbolize_names: true))]
else
  raise "it was done"
end

# example
include OpenapiClient
OpenapiClient.configure do |configuration|
  configuration.scheme, configuration.host = url.split("://")
  configuration.username, configuration.password = user, password
end
keys = KeysApi.new
written = keys.put_key(KeyPut.new(key: "app/color", value: "green"))
color = keys.list_keys(key: "app/color")
puts "#{color.value} #{color.mod_revision}"
begin
  keys.put_key(KeyPut.new(key: "app/color", value: "grey", if_absent: true))
rescue ApiError => error
  puts "#{error.code} #{JSON.parse(error.response_body)["message"]}"
end
# end
done("put text")

keys.put_key(KeyPut.new(key: "app/bytes", value_base64: Base64.strict_encode64("\x00\xFF".b)))
done("put bytes")

check(color.value == "green" && color.mod_revision == written.revision && color.lease == "0", color)
read = keys.list_keys(key: "app/bytes")
check(read.value.nil? && Base64.strict_decode64(read.value_base64) == "\x00\xFF".b, read)
check(keys.get_key("app/color") == "green", "get_key")
done("get")

first = keys.list_keys(prefix: "app/", limit: 1)
second = keys.list_keys(prefix: "app/", limit: 1, cursor: first.cursor)
check((first.keys + second.keys).map(&:key) == ["app/bytes", "app/color"], [first, second])
check(first.count == 2 && second.cursor.nil?, [first, second])
done("list two pages")

status, error = refusal { keys.put_key(KeyPut.new(key: "app/color", value: "grey", if_absent: true)) }
check(status == 412 && error.code == 9 && !error.message.empty?, [status, error])
done("a put that loses: 412, typed")

check(keys.delete_key("app/bytes").deleted == 1, "deleted")
done("delete")

answer = TransactionsApi.new.commit_transaction(
  Transaction.new(
    _if: [Comparison.new(key: "app/color", mod_revision: written.revision)],
    _then: [TransactionOperation.new(put: PutOperation.new(key: "app/color", value: "red")),
            TransactionOperation.new(get: GetOperation.new(key: "app/color"))]))
check(answer.succeeded && answer.responses[1].get.value == "red", answer)
done("transaction")

leases = LeasesApi.new
lease = leases.grant_lease(LeaseGrant.new(ttl: "60s"))
check(lease.ttl == 60 && leases.keep_lease_alive(lease.id).ttl == 60, lease)
keys.put_key(KeyPut.new(key: "app/leased", value: "for a while", lease: lease.id))
check(leases.get_lease(lease.id, keys: true).keys.map(&:key) == ["app/leased"], lease)
leases.revoke_lease(lease.id)
done("lease")

locks = LocksApi.new
held = locks.acquire_lock("jobs", LockAcquisition.new(ttl: "60s"))
status, = refusal { locks.acquire_lock("jobs", LockAcquisition.new(ttl: "60s", wait: "0s")) }
check(status == 409, status)
locks.release_lock("jobs", held.lease)
done("lock")

wait = Thread.new { ChangesApi.new.get_changes(key: "app/color", since: answer.revision, wait: "30s") }
put = keys.put_key(KeyPut.new(key: "app/color", value: "blue"))
changes = wait.value
event = changes.events.first
check(changes.revision == put.revision && [event.type, event.key, event.value] == %w[put app/color blue], changes)
done("long poll")

kv = KVApi.new.kv_range(RangeRequest.new(key: Base64.strict_encode64("app/color"))).kvs.first
check(Base64.strict_decode64(kv.value) == "blue" && kv.mod_revision.to_i == put.revision, kv)
done("/v3 range")

OpenapiClient.configure { |configuration| configuration.password = "wrong" }
status, error = refusal { KeysApi.new.list_keys(key: "app/color") }
check(status == 401 && error.code == 3, [status, error])
done("wrong password: 401, typed")
