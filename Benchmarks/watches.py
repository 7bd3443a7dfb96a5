"""The workloads of watches: what a watcher and an event cost, what idle watchers cost, and what a big range does to a watch."""

import contextlib
import json
import queue
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

from servers import OPENER, Etcd, Ours, Server, Stock, compiled, encoded, free_port, get, post

WATCHERS, PUTS = 5_000, 20
IDLE_WATCHERS, IDLE_SECONDS = 10_000, 20
FLOW_SECONDS, FLOW_INTERVAL, BIG_KEYS, BIG_VALUE = 15, 0.02, 100, 1_000_000
# Room for all watchers at once.
FLAGS = ["--max-connections", "15000", "--max-streams", "15000"]
TITLES = {"watch": f"{WATCHERS:,} watchers of one key, {PUTS} puts",
          "idle": f"{IDLE_WATCHERS:,} idle watchers",
          "flow": f"One watch, while another client reads {BIG_KEYS * BIG_VALUE // 1_000_000} MB ranges in a loop"}
COLUMNS = {
    "watch": [("memory, KiB a watcher", "memory", 1), ("CPU, µs an event", "event_cpu", 2),
              ("CPU of etcd, µs an event", "etcd_cpu", 2), ("watchers at etcd", "upstream", 0),
              ("from a put to its last event, ms", "spread", 0)],
    "idle": [("memory, KiB a watcher", "memory", 1), ("CPU without them, % of a core", "cpu_before", 2),
             ("CPU with them, % of a core", "cpu", 2), ("watchers at etcd", "upstream", 0)],
    "flow": [("from a put to its event, p50, ms", "p50", 1), ("p99, ms", "p99", 1), ("from the put's answer, p99, ms", "lag_p99", 1),
             ("worst, ms", "worst", 1), ("p99 without the ranges, ms", "alone_p99", 1), ("ranges read", "ranges", 0)],
}
NOTES = {"watch": "*fan-out limit* is `limit/fanout.c`: one `send` of the same bytes to each socket, and nothing else."}


class Fanout(Server):
    """The program limit/fanout.c: sends the bytes of each event to all connected clients, in etcd's frame."""

    authorization = ""

    def __init__(self, etcd):
        self.frame = frame(etcd)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.start("fan-out limit", [compiled("limit/fanout.c"), port], stdin=subprocess.PIPE, text=True)
        self.ready(lambda: socket.create_connection(("127.0.0.1", port), timeout=10).close() is None)

    def tell(self, revision):
        self.process.stdin.write(re.sub(r'("(?:mod_)?revision":")\d+', rf"\g<1>{revision}", self.frame))
        self.process.stdin.flush()


def frame(etcd):
    """The line of etcd's gateway for a put."""
    request = urllib.request.Request(
        f"{etcd.url}/v3/watch", json.dumps({"create_request": {"key": encoded("watched")}}).encode(), {"Authorization": etcd.new_token()})
    with OPENER.open(request, timeout=10) as response:
        response.readline()
        put(etcd, "watched")
        return response.readline().decode()


class Watchers:
    """The program watch/watchers.c with that many watches of one key open."""

    def __init__(self, server, count, key="watched", times=False):
        program = compiled("watch/watchers.c")
        self.count = count
        body = json.dumps({"create_request": {"key": encoded(key)}})
        command = [program, server.url.rpartition(":")[2], str(count), body, server.authorization] + ["times"] * times
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.SimpleQueue()
        threading.Thread(target=lambda: [self.lines.put(line) for line in self.process.stdout], daemon=True).start()

    def line(self, seconds=120):
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            raise SystemExit(f"{self.count} watchers: nothing happened for {seconds} s; status {self.process.poll()}") from None

    def wait_until_ready(self):
        assert self.line() == "ready\n"

    def await_events(self, total):
        """Returns when all watches together have had so many events; ends the run if one was lost."""
        self.process.stdin.write(f"{total}\n")
        self.process.stdin.flush()
        report = json.loads(self.line())
        if report["disorder"] or report["closed"] or not report["events"] == total == self.count * report["fewest"]:
            raise SystemExit(f"events are not as they were put: {total} were to come: {report}")
        return report

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def upstream_watchers(etcd):
    return int(float(re.search(r"^etcd_debugging_mvcc_watcher_total (\S+)", get(f"{etcd.url}/metrics"), re.MULTILINE)[1]))


@contextlib.contextmanager
def fresh(name, options):
    """An etcd, a server in front of it or in it, and the serving process; new each time, so that memory can be compared."""
    with Etcd(options.etcd) as etcd, contextlib.ExitStack() as stack:
        server = {"stock": lambda: Stock(etcd, options), "fanout": lambda: stack.enter_context(Fanout(etcd)),
                  "ours": lambda: stack.enter_context(Ours(etcd, options, *FLAGS))}[name]()
        with Watchers(server, 10) as warm:
            warm.wait_until_ready()
            change(etcd, server)
            warm.await_events(10)
        time.sleep(1)  # what a start leaves behind settles
        yield etcd, server, etcd if name == "stock" else server


def change(etcd, server):
    """Puts the watched key. Returns the revision."""
    revision = put(etcd, "watched")
    if isinstance(server, Fanout):
        server.tell(revision)
    return revision


def put(etcd, key, value="a value of a length as configurations have it"):
    """Puts directly at etcd, so that it costs the gateway nothing. Returns the revision."""
    # A token for each etcd: simple ones live for 300 s after their last use.
    etcd.bench_token = getattr(etcd, "bench_token", None) or etcd.new_token()
    answer = post(f"{etcd.url}/v3/kv/put", {"key": encoded(key), "value": encoded(value)}, etcd.bench_token)
    return int(answer["header"]["revision"])


def measure_crowd(name, options):
    """Many watchers of one key; each put waits until all have had the one before."""
    with fresh(name, options) as (etcd, server, process):
        memory = process.resident_mib()
        with Watchers(server, WATCHERS) as watchers:
            watchers.wait_until_ready()
            time.sleep(1)
            memory = process.resident_mib() - memory
            upstream = upstream_watchers(etcd)
            cpu = process.cpu_seconds(), etcd.cpu_seconds()
            spreads, first = [], None
            for number in range(PUTS):
                started = time.monotonic()
                last = change(etcd, server)
                first = first or last
                report = watchers.await_events(WATCHERS * (number + 1))
                spreads.append(time.monotonic() - started)
            if report["first"] != [first, first] or report["last"] != [last, last]:
                raise SystemExit(f"events are not those that were put, {first} to {last}: {report}")
            events = WATCHERS * PUTS
            figures = {"event_cpu": (process.cpu_seconds() - cpu[0]) / events * 1e6,
                       "etcd_cpu": (etcd.cpu_seconds() - cpu[1]) / events * 1e6, "spread": statistics.median(spreads) * 1000}
            if not isinstance(server, Fanout):  # which keeps nothing for a watcher but a number
                figures |= {"memory": memory * 1024 / WATCHERS, "upstream": upstream}
            return figures


def measure_idle(name, options):
    with fresh(name, options) as (etcd, server, process):
        def load():
            cpu = process.cpu_seconds()
            time.sleep(IDLE_SECONDS)
            return (process.cpu_seconds() - cpu) / IDLE_SECONDS * 100
        before, memory = load(), process.resident_mib()
        with Watchers(server, IDLE_WATCHERS) as watchers:
            watchers.wait_until_ready()
            time.sleep(2)
            return {"memory": (process.resident_mib() - memory) * 1024 / IDLE_WATCHERS, "cpu_before": before, "cpu": load(),
                    "upstream": upstream_watchers(etcd)}


def measure_flow(name, options):
    """The time from sending a put to its event, with and without a client that reads 100 MB at a time."""
    with fresh(name, options) as (etcd, server, _):
        for number in range(BIG_KEYS):
            put(etcd, f"big/{number:03}", "x" * BIG_VALUE)
        with Watchers(server, 1, times=True) as watchers:
            watchers.wait_until_ready()
            alone = latencies(etcd, watchers, FLOW_SECONDS / 3)
            request = json.dumps({"key": encoded("big/"), "range_end": encoded("big0")})
            script = (f"while size=$(curl -sS -o /dev/null -w '%{{http_code}} %{{size_download}}' -H 'Authorization: {server.authorization}' "
                      f"-d '{request}' {server.url}/v3/kv/range); do echo \"$size\"; done")
            with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True) as reader:
                assert reader.stdout.readline().startswith("200 ")
                beside = latencies(etcd, watchers, FLOW_SECONDS)
                reader.kill()
                answers = reader.stdout.read().splitlines()
        if any(int(answer.split()[1]) < BIG_KEYS * BIG_VALUE for answer in answers):
            raise SystemExit(f"big ranges were answered with {answers}")
        (since_sent, since_answered), (alone, _) = beside, alone
        return {"p50": percentile(since_sent, 50), "p99": percentile(since_sent, 99), "lag_p99": percentile(since_answered, 99),
                "worst": max(since_sent), "alone_p99": percentile(alone, 99), "ranges": len(answers)}


def latencies(etcd, watchers, seconds):
    """Since each put was sent, and since it was answered, in milliseconds: one put after another, at even times."""
    puts = []
    end = time.monotonic() + seconds
    while (sent := time.monotonic()) < end:
        puts.append((put(etcd, "watched"), sent, time.monotonic()))
        time.sleep(max(0, sent + FLOW_INTERVAL - time.monotonic()))
    since_sent, since_answered = [], []
    for revision, sent, answered in puts:
        event, moment = watchers.line().split()
        if int(event) != revision:
            raise SystemExit(f"event {event} came in place of {revision}")
        since_sent.append(int(moment) / 1e6 - sent * 1e3)
        since_answered.append(max(0, int(moment) / 1e6 - answered * 1e3))
    return since_sent, since_answered


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


MEASURES = {"watch": measure_crowd, "idle": measure_idle, "flow": measure_flow}


def measure(names, options):
    """The rounds of each workload, and in each by server; each round asks one after another."""
    results = {}
    for workload in names:
        servers = ["ours", "stock", "fanout"] if workload == "watch" else ["ours", "stock"]
        results[workload] = {name: [] for name in servers if name in options.only}
        for number in range(options.watch_rounds):
            for name, figures in results[workload].items():
                figures.append(MEASURES[workload](name, options))
                print(f"{workload} {number + 1}/{options.watch_rounds} {name}: {figures[-1]}", file=sys.stderr)
    return results
