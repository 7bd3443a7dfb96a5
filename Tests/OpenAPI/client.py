"""Generates a client from the description that a gateway serves, and puts, gets and watches with it.

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
    subprocess.run([program, *command[1:]], check=True, capture_output=True)
    sys.path.insert(0, directory)


def operation(tag, name):
    return importlib.import_module(f"etcd_rest_client.api.{tag}.{name}")


def models():
    return importlib.import_module("etcd_rest_client.models")


def use_rpcs(client):
    m = models()
    answer = operation("kv", "put").sync(client=client, body=m.PutRequest(key=encode("foo"), value=encode("bar")))
    assert isinstance(answer, m.PutResponse), answer
    put = answer.header.revision
    answer = operation("kv", "range_").sync(client=client, body=m.RangeRequest(key=encode("foo")))
    assert [(kv.key, kv.value, kv.mod_revision) for kv in answer.kvs] == [(encode("foo"), encode("bar"), put)], answer
    condition = m.Compare(
        key=encode("foo"), target=m.CompareCompareTarget.COMPARE_TARGET_MOD, result=m.CompareCompareResult.EQUAL,
        mod_revision=put)
    then = m.RequestOp(request_put=m.PutRequest(key=encode("foo"), value=encode("baz")))
    answer = operation("kv", "txn").sync(client=client, body=m.TxnRequest(compare=[condition], success=[then]))
    assert answer.succeeded is True, answer
    answer = operation("kv", "put").sync(client=client, body=m.PutRequest())
    assert isinstance(answer, m.Error) and answer.code == 3, answer
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
        return operation("keys", "write_key").sync(key, client=client, body=body)

    written = put("one")
    assert isinstance(written, m.KeyWritten), written
    read = operation("keys", "read_key").sync(key, client=client)
    assert isinstance(read, m.KeyAnswer) and (read.key, read.value) == (key, "one"), read
    page = operation("keys", "list_keys").sync(client=client, prefix="app/", limit=10)
    assert isinstance(page, m.KeysAnswer) and [each.key for each in page.keys] == [key], page
    # A long poll: the answer to a wait that begins before there is any change.
    answers = []
    wait = threading.Thread(target=lambda: answers.append(
        operation("keys", "read_key").sync(key, client=client, wait="30s", since=written.revision)))
    wait.start()
    put("two")
    wait.join()
    assert isinstance(answers[0], m.KeyAnswer), answers
    assert [(event.key, event.value) for event in answers[0].events] == [(key, "two")], answers
    deleted = operation("keys", "delete_key").sync(key, client=client)
    assert isinstance(deleted, m.KeysDeleted) and deleted.deleted == 1, deleted
    missing = operation("keys", "read_key").sync(key, client=client)
    assert isinstance(missing, m.Error) and missing.code == 5, missing


def main():
    with tempfile.TemporaryDirectory() as directory:
        generate(directory)
        made = importlib.import_module("etcd_rest_client")
        client = made.AuthenticatedClient(
            base_url=url, token=encode(f"{user}:{password}"), prefix="Basic", headers={"Accept": "application/json"})
        use_rpcs(client)
        use_keys(client)


if __name__ == "__main__":
    main()
