"""The workloads of one large answer: how long it takes, what it makes the server keep, and what slow readers make it keep."""

import contextlib
import json
import pathlib
import re
import selectors
import socket
import subprocess
import sys
import time

from loads import SERVERS
from servers import Etcd, Stock, encoded

KEYS, VALUE_BYTES, PREFIX = 50_000, 1024, "large/"
SLOW_READERS, SLOW_SECONDS, SLOW_BYTES = 20, 4, 16 * 1024
REQUEST = json.dumps({"key": encoded(PREFIX), "range_end": encoded("large0")})
TITLES = {"range50000": f"Range of {KEYS:,} keys of 1 KiB, one client",
          "slow": f"The same, {SLOW_READERS} clients at once that read {SLOW_BYTES * 20 // 1024} KiB a second"}
COLUMNS = {"range50000": [("seconds", "seconds", 2), ("memory more, MiB", "memory", 0), ("CPU, ms", "cpu", 0)],
           "slow": [("memory more, MiB a reader", "memory", 2), (f"read by all in {SLOW_SECONDS} s, MiB", "received", 1)]}
ROTATION = ["ours", "stock", "envoy"]


def measure(names, options):
    results = {name: {each: [] for each in ROTATION if each in options.only} for name in names}
    for number in range(options.rounds):
        # New processes each time: memory that a server keeps after one answer would hide that of the next.
        with Etcd(options.etcd) as etcd:
            etcd.put_all({f"{PREFIX}{number:05}": "x" * VALUE_BYTES for number in range(KEYS)}, etcd.new_token())
            for each in [name for name in ROTATION if name in options.only]:
                with contextlib.ExitStack() as stack:
                    server = SERVERS[each](etcd, options)
                    process = etcd if isinstance(server, Stock) else stack.enter_context(server)
                    for name in names:
                        results[name][each].append(MEASURES[name](server, process, etcd))
                        print(f"{name} {number + 1}/{options.rounds} {each}: {results[name][each][-1]}", file=sys.stderr)
    return results


def growth(process, work):
    """The result of `work`, and by how many MiB the process's resident memory grew at most (proc(5), clear_refs)."""
    before = process.resident_mib()
    pathlib.Path(f"/proc/{process.process.pid}/clear_refs").write_text("5")
    result = work()
    status = pathlib.Path(f"/proc/{process.process.pid}/status").read_text()
    return result, int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024 - before


def measure_one(server, process, etcd):
    def read():
        command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{time_total}", "-d", REQUEST,
                   "-H", f"Authorization: {server.authorization}", f"{server.url}/v3/kv/range"]
        code, size, seconds = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        if code != "200" or int(size) < KEYS * VALUE_BYTES:
            raise SystemExit(f"{server.name} answered a range of {KEYS:,} keys with {code} and {size} bytes")
        return float(seconds)

    cpu = etcd.cpu_seconds() + (0 if process is etcd else process.cpu_seconds())
    seconds, memory = growth(process, read)
    cpu = etcd.cpu_seconds() + (0 if process is etcd else process.cpu_seconds()) - cpu
    return {"seconds": seconds, "memory": memory, "cpu": cpu * 1000}


def measure_slow(server, process, _):
    def read():
        with selectors.DefaultSelector() as selector:
            request = (f"POST /v3/kv/range HTTP/1.1\r\nHost: localhost\r\nAuthorization: {server.authorization}\r\n"
                       f"Content-Length: {len(REQUEST)}\r\n\r\n{REQUEST}").encode()
            sockets = [socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) for _ in range(SLOW_READERS)]
            for one in sockets:
                one.sendall(request)
                one.setblocking(False)
                selector.register(one, selectors.EVENT_READ)
            received, end = 0, time.monotonic() + SLOW_SECONDS
            while time.monotonic() < end:
                for key, _ in selector.select(0):
                    data = key.fileobj.recv(SLOW_BYTES)
                    if not data:
                        raise SystemExit(f"{server.name} gave a slow reader up")
                    received += len(data)
                time.sleep(0.05)
            for one in sockets:
                one.close()
            return received

    received, memory = growth(process, read)
    return {"memory": memory / SLOW_READERS, "received": received / (1 << 20)}


MEASURES = {"range50000": measure_one, "slow": measure_slow}
