"""What a client that OpenAPI Generator made for Python does with a live gateway: URL USER PASSWORD.

Of a file such as this scripts/check-clients runs one for each language. The lines between "example" and "end" are in
docs/clients.md.
"""

import base64
import sys
import threading

import openapi_client as etcd
from openapi_client.api import ChangesApi, KeysApi, KVApi, LeasesApi, LocksApi, TransactionsApi

url, user, password = sys.argv[1:]


def done(step):
    print("ok:", step, flush=True)


# example
client = etcd.ApiClient(etcd.Configuration(host=url, username=user, password=password))
keys = KeysApi(client)
written = keys.put_key(etcd.KeyPut(key="app/color", value="green"))
color = keys.list_keys(key="app/color")
print(color.value, color.mod_revision)
try:
    keys.put_key(etcd.KeyPut(key="app/color", value="grey", if_absent=True))
except etcd.ApiException as error:
    print(error.status, error.data.message)
# end

done("put text")

keys.put_key(etcd.KeyPut(key="app/bytes", value_base64=base64.b64encode(b"\x00\xff").decode()))
done("put bytes")

assert (color.key, color.value, color.mod_revision, color.lease) == ("app/color", "green", written.revision, "0"), color
read = keys.list_keys(key="app/bytes")
assert (read.value, base64.b64decode(read.value_base64)) == (None, b"\x00\xff"), read
assert keys.get_key("app/color") == "green"
done("get")

first = keys.list_keys(prefix="app/", limit=1)
second = keys.list_keys(prefix="app/", limit=1, cursor=first.cursor)
assert [key.key for key in first.keys + second.keys] == ["app/bytes", "app/color"], (first, second)
assert first.count == 2 and second.cursor is None, (first, second)
done("list two pages")

try:
    keys.put_key(etcd.KeyPut(key="app/color", value="grey", if_absent=True))
    raise AssertionError("it was put")
except etcd.ApiException as error:
    assert (error.status, error.data.code) == (412, 9), error
    assert isinstance(error.data, etcd.ErrorAnswer) and error.data.message, error
done("a put that loses: 412, typed")

assert keys.delete_key("app/bytes").deleted == 1
done("delete")

condition = etcd.Comparison(key="app/color", mod_revision=written.revision)
answer = TransactionsApi(client).commit_transaction(etcd.Transaction(
    var_if=[condition],
    then=[etcd.TransactionOperation(put=etcd.PutOperation(key="app/color", value="red")),
          etcd.TransactionOperation(get=etcd.GetOperation(key="app/color"))]))
assert answer.succeeded and answer.responses[1].get.value == "red", answer
done("transaction")

leases = LeasesApi(client)
lease = leases.grant_lease(etcd.LeaseGrant(ttl="60s"))
assert lease.ttl == 60 and leases.keep_lease_alive(lease.id).ttl == 60, lease
keys.put_key(etcd.KeyPut(key="app/leased", value="for a while", lease=lease.id))
assert [each.key for each in leases.get_lease(lease.id, keys=True).keys] == ["app/leased"]
leases.revoke_lease(lease.id)
done("lease")

locks = LocksApi(client)
held = locks.acquire_lock("jobs", etcd.LockAcquisition(ttl="60s"))
try:
    locks.acquire_lock("jobs", etcd.LockAcquisition(ttl="60s", wait="0s"))
    raise AssertionError("both have it")
except etcd.ApiException as error:
    assert error.status == 409 and error.data.message, error
locks.release_lock("jobs", lease=held.lease)
done("lock")

changes = []
wait = threading.Thread(target=lambda: changes.append(
    ChangesApi(client).get_changes(key="app/color", since=answer.revision, wait="30s")))
wait.start()
put = keys.put_key(etcd.KeyPut(key="app/color", value="blue"))
wait.join()
assert changes[0].revision == put.revision, changes
assert [(event.type, event.key, event.value) for event in changes[0].events] == [("put", "app/color", "blue")], changes
done("long poll")

kv = KVApi(client).kv_range(etcd.RangeRequest(key=base64.b64encode(b"app/color").decode())).kvs[0]
assert (base64.b64decode(kv.value), int(kv.mod_revision)) == (b"blue", put.revision), kv
done("/v3 range")

stranger = etcd.ApiClient(etcd.Configuration(host=url, username=user, password="wrong"))
try:
    KeysApi(stranger).list_keys(key="app/color")
    raise AssertionError("it was let in")
except etcd.ApiException as error:
    assert (error.status, error.data.code) == (401, 3), error
done("wrong password: 401, typed")
