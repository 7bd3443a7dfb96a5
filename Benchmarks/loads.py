"""The workloads of requests: the same ones to each server in rotation, as fast as answers come."""

import collections
import contextlib
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

from servers import CLOCK_TICKS, ROOT, Direct, Envoy, Etcd, Limit, Ours, OursWithTLS, Stock, Upstream, encoded, field, get, post

Workload = collections.namedtuple(
    "Workload", "title stage path bodies expected connections servers grpc note", defaults=[None, ""])

MEBIBYTE = 1 << 20
ONE_KEY = {"key": encoded("foo")}
THOUSAND_KEYS = [{"key": encoded(f"many/{number:03}")} for number in range(1000)]
SIXTEEN_BYTES = "sixteen bytes it"
TEN = {"success": [{"request_put": {"key": encoded(f"txn/{number}"), "value": encoded(SIXTEEN_BYTES)}} for number in range(5)] +
                  [{"request_range": {"key": encoded(f"many/{number:03}")}} for number in range(5)]}
# The same in protobuf, for programs that speak gRPC: the fields of RangeRequest, PutRequest and TxnRequest.
RANGE, PUT, TXN = ("/etcdserverpb.KV/" + name for name in ("Range", "Put", "Txn"))
TEN_IN_PROTOBUF = b"".join(
    [field(2, field(2, field(1, f"txn/{number}".encode()) + field(2, SIXTEEN_BYTES.encode()))) for number in range(5)] +
    [field(2, field(1, field(1, f"many/{number:03}".encode()))) for number in range(5)])
READS_NOTE = "`h2load` asks for one key over as many HTTP/2 connections as we have shards: to etcd all keys are the same work."

WORKLOADS = {
    "reads64": Workload("Range of one of 1,000 keys, 64 connections", "etcd", "/v3/kv/range", THOUSAND_KEYS, "kvs", 64,
                        ["ours", "alone", "limit", "stock", "envoy", "direct"], (RANGE, field(1, b"foo")), READS_NOTE),
    "reads256": Workload("Range of one of 1,000 keys, 256 connections", "etcd", "/v3/kv/range", THOUSAND_KEYS, "kvs", 256,
                         ["ours", "limit", "stock", "envoy", "direct"], (RANGE, field(1, b"foo"))),
    "reads1": Workload("Range of one of 1,000 keys, one connection", "etcd", "/v3/kv/range", THOUSAND_KEYS, "kvs", 1,
                       ["ours", "limit", "stock", "envoy"]),
    "reads1024": Workload("Range of one of 1,000 keys, 1,024 connections", "etcd", "/v3/kv/range", THOUSAND_KEYS, "kvs", 1024,
                          ["ours", "limit", "stock", "envoy"]),
    "hot": Workload("Range of one key, the same for all, 64 connections", "etcd", "/v3/kv/range", [ONE_KEY], "kvs", 64,
                    ["ours", "limit", "stock", "envoy"]),
    "put": Workload("Put of 16 bytes, 64 connections", "etcd", "/v3/kv/put",
                    [{"key": encoded("foo"), "value": encoded(SIXTEEN_BYTES)}], "header", 64, ["ours", "stock", "envoy", "direct"],
                    (PUT, field(1, b"foo") + field(2, SIXTEEN_BYTES.encode()))),
    "txn": Workload("Transaction of 5 puts and 5 ranges, 64 connections", "etcd", "/v3/kv/txn", [TEN], "responses", 64,
                    ["ours", "stock", "envoy", "direct"], (TXN, TEN_IN_PROTOBUF)),
    "range100": Workload("Range of 100 keys of 100 bytes, 64 connections", "etcd", "/v3/kv/range",
                         [{"key": encoded("list/"), "range_end": encoded("list0")}], "kvs", 64,
                         ["ours", "stock", "envoy", "direct"], (RANGE, field(1, b"list/") + field(2, b"list0"))),
    "own": Workload("Range of one key, 64 connections, upstream costs nothing", "upstream", "/v3/kv/range", THOUSAND_KEYS, "kvs",
                    64, ["ours", "alone", "limit", "envoy"], None,
                    "*limit/upstream.c* answers in etcd's place with a message made before: what a gateway costs by itself."),
    "tls": Workload("HTTPS beside HTTP, 64 connections, upstream costs nothing", "upstream", "/v3/kv/range", THOUSAND_KEYS, "kvs",
                    64, ["alone", "tls"], None, "Kept connections, so without handshakes; each read a call of its own."),
    "shards": Workload("1, 2 and 4 shards, 64 connections, upstream costs nothing", "upstream", "/v3/kv/range", THOUSAND_KEYS,
                       "kvs", 64, ["shards1", "alone", "shards4"], None,
                       "Spread: how far the shard that differs most is from the mean, of 1,000 kept connections."),
    "get1m": Workload("Range of a value of 1 MiB, 8 connections", "large", "/v3/kv/range", [{"key": encoded("mebibyte")}], "kvs", 8,
                      ["ours", "stock", "envoy"]),
    "put1m": Workload("Put of a value of 1 MiB, 8 connections", "large", "/v3/kv/put",
                      [{"key": encoded("mebibyte"), "value": encoded("x" * MEBIBYTE)}], "header", 8, ["ours", "stock", "envoy"]),
}
STAGE = {name: workload.stage for name, workload in WORKLOADS.items()}
TITLES = {name: workload.title for name, workload in WORKLOADS.items()}
NOTES = {name: workload.note for name, workload in WORKLOADS.items() if workload.note}
COLUMNS = {name: [("requests/s", "throughput", 0), ("p50 ms", "p50", 2), ("p99 ms", "p99", 2),
                  ("CPU µs/request: gateway", "gateway_cpu", 1), ("upstream", "etcd_cpu", 1), ("together", "cpu", 1), ("cores busy with it", "cores", 2), ("idle", "idle", 2)]
           for name in WORKLOADS}
COLUMNS["shards"] = COLUMNS["shards"] + [("spread", "spread", 2)]
ALONE = ["--max-batch", "1"]
SERVERS = {
    "ours": Ours, "limit": Limit, "stock": Stock, "envoy": Envoy, "direct": Direct,
    "alone": lambda etcd, options: Ours(etcd, options, *ALONE),
    "tls": lambda etcd, options: OursWithTLS(etcd, options, *ALONE),
    "shards1": lambda etcd, options: Ours(etcd, options, *ALONE, shards=1),
    "shards4": lambda etcd, options: Ours(etcd, options, *ALONE, shards=4),
}
STAGES = {"etcd": lambda options: Etcd(options.etcd), "upstream": lambda options: Upstream(),
          # Puts of 1 MiB would soon reach etcd's default limit of 2 GiB.
          "large": lambda options: Etcd(options.etcd, "--quota-backend-bytes", str(16 << 30))}


def measure(names, options):
    """The rounds of each workload, by its name, and in each by server."""
    results = {}
    for stage, start in STAGES.items():
        if not (chosen := [name for name in names if WORKLOADS[name].stage == stage]):
            continue
        with contextlib.ExitStack() as stack:
            etcd = stack.enter_context(start(options))
            if stage == "large":
                post(f"{etcd.url}/v3/kv/put", WORKLOADS["put1m"].bodies[0], etcd.new_token())
            servers = {}
            for name in SERVERS:
                if name in options.only and any(name in WORKLOADS[workload].servers for workload in chosen):
                    server = SERVERS[name](etcd, options)
                    servers[name] = stack.enter_context(server) if hasattr(server, "process") else server
            time.sleep(1)  # what a start leaves behind settles
            for name in chosen:
                results[name] = rotate(name, {each: servers[each] for each in WORKLOADS[name].servers if each in servers},
                                       etcd, options)
    return results


def rotate(name, servers, etcd, options):
    workload = WORKLOADS[name]
    with tempfile.NamedTemporaryFile("w", prefix="etcd-rest-bench-") as bodies:
        bodies.writelines(json.dumps(body, separators=(",", ":")) + "\n" for body in workload.bodies)
        bodies.flush()
        for each, server in servers.items():
            if each != "direct":
                answer = post(server.url + workload.path, workload.bodies[-1], server.authorization)
                if workload.expected not in answer:
                    raise SystemExit(f"{each} answered {name} with {answer}")
            load(server, etcd, workload, bodies.name, options, 1)  # warms up caches, heaps and connections
        rounds = {each: [] for each in servers}
        for number in range(options.rounds):
            # The order changes, so that no server always follows the same one.
            for each in [*servers][number % len(servers):] + [*servers][:number % len(servers)]:
                figures = load(servers[each], etcd, workload, bodies.name, options, options.seconds)
                if name == "shards":
                    figures["spread"] = spread(servers[each])
                rounds[each].append(figures)
                print(f"{name} {number + 1}/{options.rounds} {each}: {figures['throughput']:.0f} requests/s, "
                      f"CPU {figures['cpu']:.1f} µs", file=sys.stderr)
    return rounds


def load(server, etcd, workload, bodies, options, seconds):
    """One measurement: requests a second, times in milliseconds, CPU in microseconds a request."""
    gateway = None if isinstance(server, Stock) else server
    idle_before = idle_seconds()
    cpu_before = etcd.cpu_seconds(), gateway.cpu_seconds() if gateway else 0
    handled_before = etcd.handled()
    counted = (by_h2load if isinstance(server, Direct) else by_wrk)(server, workload, bodies, options, seconds)
    idle = idle_seconds() - idle_before
    handled_after = etcd.handled()
    cpu = etcd.cpu_seconds() - cpu_before[0], (gateway.cpu_seconds() if gateway else 0) - cpu_before[1]

    requests = counted["requests"]
    if not requests:
        raise SystemExit(f"{server.name} answered no request of {workload.title}")
    # The limit program and h2load do not check etcd's answers, so etcd is asked. They disconnect amid their last
    # requests, which are not counted.
    is_short = (isinstance(server, (Limit, Direct)) and handled_after is not None and
                not 0 <= handled_after - handled_before - requests <= 2 * workload.connections)
    if counted["failed"] or is_short:
        print(f"warning: {server.name}, {workload.title}: {requests} requests, {counted['failed']} of them failed; "
              f"etcd answered {(handled_after or 0) - (handled_before or 0)} calls with OK", file=sys.stderr)
    figures = {"throughput": requests / counted["seconds"], "p50": counted["p50"], "p99": counted["p99"],
               "etcd_cpu": cpu[0] / requests * 1e6, "cpu": sum(cpu) / requests * 1e6, "cores": sum(cpu) / counted["seconds"], "idle": idle / counted["seconds"],
               "failed": counted["failed"]}
    if gateway:
        figures["gateway_cpu"] = cpu[1] / requests * 1e6
    if handled_after is not None:
        figures["calls"] = (handled_after - handled_before) / requests
    return figures


def idle_seconds():
    """The idle time of all cores together since the start of the machine (proc(5), /proc/stat: idle and iowait)."""
    fields = pathlib.Path("/proc/stat").read_text().split(maxsplit=6)
    return (int(fields[4]) + int(fields[5])) / CLOCK_TICKS


def by_wrk(server, workload, bodies, options, seconds):
    command = ["wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s", "-s", ROOT / "Benchmarks/load.lua",
               server.url + workload.path, "--", bodies]
    command += [server.authorization] if server.authorization else []
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def by_h2load(server, workload, bodies, options, seconds):
    """Direct gRPC by h2load: frames of one message, over a connection for each shard of the gateway, a call at once for each client."""
    path, message = workload.grpc
    with tempfile.NamedTemporaryFile(prefix="etcd-rest-bench-") as frame, tempfile.NamedTemporaryFile("r") as log:
        frame.write(bytes([0]) + len(message).to_bytes(4, "big") + message)
        frame.flush()
        output = subprocess.run(
            ["h2load", "-c", str(options.shards), "-m", str(workload.connections // options.shards), "-D", str(seconds), "-w", "20",
             "-W", "24", "-d", frame.name, f"--log-file={log.name}", "-H", "content-type: application/grpc", "-H", "te: trailers",
             "-H", f"token: {server.authorization}", server.url + path], check=True, stdout=subprocess.PIPE, text=True).stdout
        times = sorted(int(line.split("\t")[2]) / 1000 for line in log)
    counted = {word: int(number) for number, word in re.findall(r"(\d+) (succeeded|failed|errored|timeout)", output)}
    return {"requests": counted["succeeded"], "failed": counted["failed"], "seconds": seconds,
            "p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


def keep(server, count, path="/livez"):
    """That many connections, each of which has had an answer and is kept."""
    port = int(server.url.rpartition(":")[2])
    sockets = []
    credentials = f"Authorization: {server.authorization}\r\n" if server.authorization else ""
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), timeout=10)
        sockets.append(one)
        body = json.dumps(ONE_KEY)
        one.sendall((f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{credentials}Content-Length: {len(body)}\r\n\r\n{body}" if path != "/livez"
                     else f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").encode())
        if not one.recv(4096).startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"{server.name}: {path} is not answered with 200")
    return sockets


def spread(server):
    """How far the shard with the most or the fewest of 1,000 connections is from the mean, as a part of it."""
    sockets = keep(server, 1000)
    metrics = get(f"{server.url}/metrics")
    for one in sockets:
        one.close()
    counts = [int(count) for count in re.findall(r"^etcd_rest_client_connections\{[^}]*\} (\d+)", metrics, re.MULTILINE)]
    mean = sum(counts) / len(counts)
    return max(abs(count - mean) for count in counts) / mean
