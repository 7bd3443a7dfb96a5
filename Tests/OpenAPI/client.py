"""Makes a client with openapi-python-client from the description that a gateway serves, and does with it what
Tests/Clients/python.py does with another, and more.

    client.py URL USER PASSWORD
"""

import base64
import importlib
import json
import pathlib
import subprocess
import sys
import tempfile
import threading

import requests

url, user, password = sys.argv[1:]


def encode(text):
    return base64.b64encode(text.encode()).decode()


def done(step):
    print("ok:", step, flush=True)


def generate(directory):
    """Makes the package `etcd_rest_client` in a directory, and lets it be imported from there."""
    document = pathlib.Path(directory, "openapi.json")
    document.write_bytes(requests.get(url + "/openapi.json", timeout=30).content)
    config = pathlib.Path(directory, "config.json")
    config.write_text(json.dumps({"post_hooks": []}), encoding="utf-8")
    package = pathlib.Path(directory, "etcd_rest_client")
    command = ["openapi-python-client", "generate", "--path", document, "--config", config, "--meta", "none",
               "--output-path", package]
    program = pathlib.Path(sys.executable).with_name(command[0])
    said = subprocess.run([program, *command[1:]], check=True, capture_output=True, text=True)
    # The lines of an import, a YAML document, and errors beside a value that is text, are not for this generator.
    warnings = {line for line in said.stderr.splitlines() if line.startswith("WARNING")}
    known = {"WARNING parsing POST /keys within keys.", "WARNING parsing GET /openapi.yaml within description.",
             "WARNING parsing GET /keys/{key} within keys."}
    assert warnings == known, said.stderr
    sys.path.insert(0, directory)


def operation(tag, name):
    return importlib.import_module(f"etcd_rest_client.api.{tag}.{name}")


def models():
    return importlib.import_module("etcd_rest_client.models")


def use_example(directory):
    generate(directory)
    # example
    from etcd_rest_client import AuthenticatedClient, models
    from etcd_rest_client.api.keys import list_keys, put_key

    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    client = AuthenticatedClient(base_url=url, token=credentials, prefix="Basic")
    written = put_key.sync(client=client, body=models.KeyPut(key="app/color", value="green"))
    color = list_keys.sync(client=client, key="app/color")
    print(color.value, color.mod_revision)
    lost = put_key.sync_detailed(
        client=client, body=models.KeyPut(key="app/color", value="grey", if_absent=True))
    print(lost.status_code.value, lost.parsed.message)
    # end
    assert isinstance(written, models.KeyWritten), written
    assert (color.value, color.mod_revision) == ("green", written.revision), color
    assert isinstance(lost.parsed, models.ErrorAnswer) and (lost.status_code, lost.parsed.code) == (412, 9), lost
    done("put text")
    done("a put that loses: 412, typed")
    stranger = AuthenticatedClient(base_url=url, token=encode(f"{user}:wrong"), prefix="Basic")
    refused = list_keys.sync_detailed(client=stranger, key="app/color")
    assert isinstance(refused.parsed, models.ErrorAnswer) and (refused.status_code, refused.parsed.code) == (401, 3)
    done("wrong password: 401, typed")
    return client


def use_rpcs(client):
    m = models()
    answer = operation("kv", "kv_put").sync(client=client, body=m.PutRequest(key=encode("foo"), value=encode("bar")))
    assert isinstance(answer, m.PutResponse), answer
    put = answer.header.revision
    answer = operation("kv", "kv_range").sync(client=client, body=m.RangeRequest(key=encode("foo")))
    assert [(kv.key, kv.value, kv.mod_revision) for kv in answer.kvs] == [(encode("foo"), encode("bar"), put)], answer
    condition = m.Compare(
        key=encode("foo"), target=m.CompareCompareTarget.COMPARE_TARGET_MOD, result=m.CompareCompareResult.EQUAL,
        mod_revision=put)
    then = m.RequestOp(request_put=m.PutRequest(key=encode("foo"), value=encode("baz")))
    answer = operation("kv", "kv_txn").sync(client=client, body=m.TxnRequest(compare=[condition], success=[then]))
    assert answer.succeeded is True, answer
    done("/v3 range")
    answer = operation("kv", "kv_put").sync(client=client, body=m.PutRequest())
    assert isinstance(answer, m.ErrorAnswer) and answer.code == 3, answer
    # The generated function would read all of a stream before it returns; its client reads line by line.
    request = m.WatchRequest(create_request=m.WatchCreateRequest(key=encode("foo"), start_revision=put))
    with client.get_httpx_client().stream("POST", "/v3/watch", json=request.to_dict()) as response:
        values = []
        for line in response.iter_lines():
            message = m.WatchResponse.from_dict(json.loads(line)["result"])
            values += [event.kv.value for event in message.events or []]
            if len(values) == 2:
                break
    assert values == [encode("bar"), encode("baz")], values


def use_keys(client):
    m = models()
    key = "app/ä b%2F//c"
    types = importlib.import_module("etcd_rest_client.types")

    def put(text):
        body = types.File(payload=text.encode())
        return operation("keys", "put_value").sync(key, client=client, body=body)

    written = put("one")
    assert isinstance(written, m.KeyWritten), written
    read = operation("keys", "list_keys").sync(client=client, key=key)
    assert isinstance(read, m.Keys) and (read.key, read.value) == (key, "one"), read
    first = operation("keys", "list_keys").sync(client=client, prefix="app/", limit=1)
    second = operation("keys", "list_keys").sync(client=client, prefix="app/", limit=1, cursor=first.cursor)
    assert [each.key for each in first.keys + second.keys] == ["app/color", key], (first, second)
    done("list two pages")
    # A long poll: the answer to a wait that begins before there is any change.
    answers = []
    wait = threading.Thread(target=lambda: answers.append(
        operation("changes", "get_changes").sync(client=client, key=key, wait="30s", since=written.revision)))
    wait.start()
    put("two")
    wait.join()
    assert isinstance(answers[0], m.Changes), answers
    assert [(event.key, event.value) for event in answers[0].events] == [(key, "two")], answers
    done("long poll")
    deleted = operation("keys", "delete_key").sync(key, client=client)
    assert isinstance(deleted, m.KeysDeleted) and deleted.deleted == 1, deleted
    missing = operation("keys", "list_keys").sync(client=client, key=key)
    assert isinstance(missing, m.ErrorAnswer) and missing.code == 5, missing
    done("delete")


def use_plain_json(client):
    m = models()
    key = "/plain//ä"
    put = operation("keys", "put_key")
    written = put.sync(client=client, body=m.KeyPut(key=key, value="one", if_absent=True))
    assert isinstance(written, m.KeyWritten), written
    lost = put.sync(client=client, body=m.KeyPut(key=key, value="two", if_absent=True))
    assert isinstance(lost, m.ErrorAnswer) and lost.code == 9, lost
    binary = put.sync(client=client, body=m.KeyPut(key="/plain/b", value_base64=base64.b64encode(b"\xff").decode()))
    assert isinstance(binary, m.KeyWritten), binary
    done("put bytes")
    read = operation("keys", "list_keys").sync(client=client, key=key)
    assert isinstance(read, m.Keys) and (read.key, read.value) == (key, "one"), read
    value = operation("keys", "get_key").sync(client=client, key=key)
    assert value == "one", value
    done("get")
    then = [m.TransactionOperation(put=m.PutOperation(key=key, value="three")),
            m.TransactionOperation(get=m.GetOperation(key=key))]
    condition = m.Comparison(key=key, mod_revision=written.revision)
    body = m.Transaction.from_dict({"if": [condition.to_dict()], "then": [each.to_dict() for each in then]})
    answer = operation("transactions", "commit_transaction").sync(client=client, body=body)
    assert answer.succeeded is True and answer.responses[1].get.value == "three", answer
    done("transaction")
    lease = operation("leases", "grant_lease").sync(client=client, body=m.LeaseGrant(ttl="60s"))
    assert isinstance(lease, m.Lease) and lease.ttl == 60, lease
    put.sync(client=client, body=m.KeyPut(key="/plain/l", value="v", lease=lease.id))
    left = operation("leases", "get_lease").sync(lease.id, client=client, keys=True)
    assert [name.key for name in left.keys] == ["/plain/l"], left
    assert operation("leases", "keep_lease_alive").sync(lease.id, client=client).ttl == 60
    assert isinstance(operation("leases", "revoke_lease").sync(lease.id, client=client), m.LeaseRevoked)
    done("lease")
    lock = operation("locks", "acquire_lock").sync("plain", client=client, body=m.LockAcquisition(ttl="60s"))
    assert isinstance(lock, m.HeldLock) and lock.ttl == 60, lock
    lost = operation("locks", "acquire_lock").sync("plain", client=client, body=m.LockAcquisition(ttl="60s", wait="0s"))
    assert isinstance(lost, m.ErrorAnswer) and lost.code == 10, lost
    renewed = operation("locks", "keep_lock_alive").sync("plain", client=client, body=m.HolderLease(lease=lock.lease))
    assert renewed == lock, renewed
    released = operation("locks", "release_lock").sync("plain", client=client, lease=lock.lease)
    assert isinstance(released, m.LeaseRevoked), released
    done("lock")
    lead = operation("elections", "campaign_in_election").sync(
        "plain", client=client, body=m.Candidacy(value="me", ttl="60s", wait="10s"))
    assert isinstance(lead, m.Leadership) and lead.value == "me", lead
    assert operation("elections", "get_leader").sync("plain", client=client).lease == lead.lease
    deleted = operation("keys", "delete_keys").sync(client=client, prefix="/plain/")
    assert isinstance(deleted, m.KeysDeleted) and deleted.deleted == 2, deleted


def main():
    with tempfile.TemporaryDirectory() as directory:
        client = use_example(directory)
        use_rpcs(client)
        use_keys(client)
        use_plain_json(client)


if __name__ == "__main__":
    main()
