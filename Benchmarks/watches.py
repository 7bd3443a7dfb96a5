"""The workloads of watches: what a watcher and an event cost, what idle watchers cost, and what a big range does to a watch."""

import collections
import contextlib
import json
import queue
import re
import statistics
import subprocess
import sys
import threading
import time

from servers import ROOT, Etcd, Ours, Stock, encoded, get, post

WATCHERS, PUTS = 5_000, 20
IDLE_WATCHERS, IDLE_SECONDS = 10_000, 20
FLOW_SECONDS, FLOW_INTERVAL, BIG_KEYS, BIG_VALUE = 15, 0.02, 100, 1_000_000
SERVERS = {"ours": Ours, "stock": Stock}
# Room for all watchers at once.
FLAGS = ["--max-connections", "20000", "--max-streams", "20000"]

# Memory in KiB a watcher, CPU in microseconds an event, spread in milliseconds from a put to its last event.
Crowd = collections.namedtuple("Crowd", "memory event_cpu etcd_cpu upstream spread")
# CPU in percent of a core.
Idle = collections.namedtuple("Idle", "memory cpu_before cpu upstream")
# Milliseconds from the moment a put is sent; lag: from the moment it is answered, so without what it took etcd.
Flow = collections.namedtuple("Flow", "p50 p99 lag_p99 worst alone_p99 ranges")


class Watchers:
    """The program watch/watchers.c with that many watches of one key open."""

    def __init__(self, server, count, key="watched", times=False):
        program = ROOT / ".build-bench" / "watchers"
        program.parent.mkdir(exist_ok=True)
        subprocess.run(["cc", "-O2", ROOT / "Benchmarks/watch/watchers.c", "-o", program], check=True)
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
        """Returns when all watches together have had so many events; ends the run where one was lost."""
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
def fresh(name, arguments):
    """An etcd, a server in front of it or in it, and the process that serves; new each time, for the memory's sake."""
    with Etcd(arguments.etcd) as etcd, contextlib.ExitStack() as stack:
        server = Stock(etcd) if name == "stock" else stack.enter_context(Ours(etcd, arguments.shards, *FLAGS))
        process = etcd if name == "stock" else server
        with Watchers(server, 10) as warm:
            warm.wait_until_ready()
            put(etcd, "watched")
            warm.await_events(10)
        time.sleep(1)  # what a start leaves behind settles
        yield etcd, server, process


def put(etcd, key, value="a value of a length as configurations have it"):
    """Puts straight to etcd, so that it costs the gateway nothing. Returns the revision."""
    # A token for each etcd: simple ones live for 300 s after their last use.
    etcd.bench_token = getattr(etcd, "bench_token", None) or etcd.new_token()
    answer = post(f"{etcd.url}/v3/kv/put", {"key": encoded(key), "value": encoded(value)}, etcd.bench_token)
    return int(answer["header"]["revision"])


def measure_crowd(name, arguments):
    """Many watchers of one key; each put waits until all have had the one before."""
    with fresh(name, arguments) as (etcd, server, process):
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
                last = put(etcd, "watched")
                first = first or last
                report = watchers.await_events(WATCHERS * (number + 1))
                spreads.append(time.monotonic() - started)
            if report["first"] != [first, first] or report["last"] != [last, last]:
                raise SystemExit(f"events are not those that were put, {first} to {last}: {report}")
            events = WATCHERS * PUTS
            return Crowd(
                memory=memory * 1024 / WATCHERS, event_cpu=(process.cpu_seconds() - cpu[0]) / events * 1e6,
                etcd_cpu=(etcd.cpu_seconds() - cpu[1]) / events * 1e6, upstream=upstream,
                spread=statistics.median(spreads) * 1000)


def measure_idle(name, arguments):
    with fresh(name, arguments) as (etcd, server, process):
        def load():
            cpu = process.cpu_seconds()
            time.sleep(IDLE_SECONDS)
            return (process.cpu_seconds() - cpu) / IDLE_SECONDS * 100
        before, memory = load(), process.resident_mib()
        with Watchers(server, IDLE_WATCHERS) as watchers:
            watchers.wait_until_ready()
            time.sleep(2)
            return Idle(memory=(process.resident_mib() - memory) * 1024 / IDLE_WATCHERS, cpu_before=before, cpu=load(),
                        upstream=upstream_watchers(etcd))


def measure_flow(name, arguments):
    """The time from sending a put to its event, with and without somebody who reads 100 MB at a time."""
    with fresh(name, arguments) as (etcd, server, _):
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
        return Flow(p50=percentile(since_sent, 50), p99=percentile(since_sent, 99), lag_p99=percentile(since_answered, 99),
                    worst=max(since_sent), alone_p99=percentile(alone, 99), ranges=len(answers))


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


def measure_watches(workload, names, arguments):
    """The rounds' figures of each server, by its short name; each round asks one after another."""
    rounds = {name: [] for name in names if name in SERVERS}
    for number in range(arguments.watch_rounds):
        for name, figures in rounds.items():
            figures.append(MEASURES[workload](name, arguments))
            print(f"{workload} {number + 1}/{arguments.watch_rounds} {name}: {figures[-1]}", file=sys.stderr)
    return rounds


def median(rounds, figure):
    return statistics.median(getattr(figures, figure) for figures in rounds)


def ratio(results, figure):
    """The median of the rounds' ratios of ours to stock's; nothing where one was not measured."""
    if not {"ours", "stock"} <= results.keys():
        return ""
    return f"{statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in zip(results['ours'], results['stock'])):.3f}"


# Of each workload: what it is, and its figures as (what, which, digits, target of ours).
TABLES = {
    "watch": (f"{WATCHERS:,} watchers of one key, {PUTS} puts", [
        ("memory, KiB a watcher", "memory", 1, "≤ 8"), ("CPU, µs an event", "event_cpu", 2, "≤ 1/6 of etcd's gateway"),
        ("CPU of etcd, µs an event", "etcd_cpu", 2, ""), ("watchers at etcd", "upstream", 0, "≤ one a shard"),
        ("from a put to its last event, ms", "spread", 0, "")]),
    "idle": (f"{IDLE_WATCHERS:,} idle watchers", [
        ("memory, KiB a watcher", "memory", 1, "≤ 8"), ("CPU without them, % of a core", "cpu_before", 2, ""),
        ("CPU with them, % of a core", "cpu", 2, "< 1"), ("watchers at etcd", "upstream", 0, "≤ one a shard")]),
    "flow": (f"One watch, while another client reads {BIG_KEYS * BIG_VALUE // 1_000_000} MB ranges in a loop", [
        ("from a put to its event, p50, ms", "p50", 1, ""), ("p99, ms", "p99", 1, "< 50"),
        ("from the put's answer, p99, ms", "lag_p99", 1, ""), ("worst, ms", "worst", 1, ""),
        ("p99 without the ranges, ms", "alone_p99", 1, ""), ("ranges read", "ranges", 0, "")]),
}


def watch_table(workload, results, titles):
    title, figures = TABLES[workload]
    lines = [f"## {title}", "", f"| | {' | '.join(titles[name] for name in results)} | ratio | target |",
             "|---|" + "---:|" * (len(results) + 2)]
    for what, figure, digits, target in figures:
        values = " | ".join(f"{median(rounds, figure):.{digits}f}" for rounds in results.values())
        lines.append(f"| {what} | {values} | {ratio(results, figure)} | {target} |")
    return lines + [""]
