"""The marks: what each figure of ours has to be, by itself or beside a peer's in the same rotation."""

import collections
import statistics

import transcoding

# `figure` of `ours` is divided by that of `peer` in each rotation; without a peer it is the figure itself. Without a
# bound it is only reported.
Mark = collections.namedtuple("Mark", "what workload figure ours peer bound is_least")


def at_least(bound, what, workload, figure, peer, ours="ours"):
    return Mark(what, workload, figure, ours, peer, bound, True)


def at_most(bound, what, workload, figure, peer=None, ours="ours"):
    return Mark(what, workload, figure, ours, peer, bound, False)


MARKS = [
    *(at_least(bound, "requests/s, range of 1,000 keys, 64 connections", "reads64", "throughput", peer)
      for bound, peer in [(1.8, "limit"), (3.5, "stock"), (4, "envoy"), (None, "direct")]),
    *(at_least(bound, "requests/s, range of 1,000 keys, 256 connections", "reads256", "throughput", peer)
      for bound, peer in [(2.2, "limit"), (4.5, "stock"), (None, "envoy"), (None, "direct")]),
    at_most(1.2, "CPU a request in the gateway, batching off", "reads64", "gateway_cpu", "limit", "alone"),
    at_most(1.2, "CPU a request in the gateway, batching off, upstream costs nothing", "own", "gateway_cpu", "limit", "alone"),
    at_most(None, "CPU a request in the gateway, batching off, upstream costs nothing", "own", "gateway_cpu", "envoy", "alone"),
    at_least(4.5, "requests/s, one hot key, 64 connections", "hot", "throughput", "stock"),
    at_most(0.35, "p99, range of 1,000 keys, 64 connections", "reads64", "p99", "stock"),
    at_most(1, "p50, one connection", "reads1", "p50", "stock"),
    at_most(1, "p50, 1,024 connections", "reads1024", "p50", "stock"),
    # A tenth less than with 64 connections.
    *(at_least(bound, "requests/s, 1,024 connections", "reads1024", "throughput", peer)
      for bound, peer in [(1.62, "limit"), (3.15, "stock"), (3.6, "envoy")]),
    at_least(1.5, "requests/s, put of 16 B", "put", "throughput", "stock"),
    at_least(None, "requests/s, put of 16 B", "put", "throughput", "direct"),
    at_least(2, "requests/s, transaction of 10", "txn", "throughput", "stock"),
    at_least(None, "requests/s, transaction of 10", "txn", "throughput", "direct"),
    at_least(3, "requests/s, range of 100 × 100 B", "range100", "throughput", "stock"),
    at_least(None, "requests/s, range of 100 × 100 B", "range100", "throughput", "direct"),
    at_most(0.3, "seconds, range of 50,000 × 1 KiB", "range50000", "seconds", "stock"),
    at_most(10, "memory more for it, MiB", "range50000", "memory"),
    at_most(4, "memory more for 20 slow readers of it, MiB each", "slow", "memory"),
    at_least(2, "MB/s, range of 1 MiB", "get1m", "throughput", "stock"),
    at_least(2, "MB/s, put of 1 MiB", "put1m", "throughput", "stock"),
    at_most(1.5, "CPU a request in the gateway, HTTPS", "tls", "gateway_cpu", "alone", "tls"),
    at_most(1.15, "CPU an event, 5,000 watchers", "watch", "event_cpu", "fanout"),
    at_most(None, "CPU an event, 5,000 watchers", "watch", "event_cpu", "stock"),
    at_most(12, "a kept idle connection, KiB", "connections", "memory"),
    at_most(1.8, "an idle watcher, KiB", "watch", "memory"),
    at_most(20, "idle memory, MiB", "start", "memory"),
    at_most(30, "start to ready, ms", "start", "milliseconds"),
    at_most(1, "logins at etcd for the first request of a user", "users", "logins"),
    at_most(2, "first request of a user, ms beyond etcd's login", "users", "beyond"),
    at_most(1.1, "median of a read, ms, beside 1,000 wrong logins a second", "logins", "median", "none", "logins"),
    *(at_least(5, f"transcoding, {title}, millions a second", "transcoding", f"{name} rate", "json") for name, title in transcoding.SMALL.items()),
    *(at_least(1, f"transcoding, {title}, GB/s of the value", "transcoding", f"{name} rate", None) for name, title in transcoding.LARGE.items()),
    at_most(0, "allocations of transcoding a small message", "transcoding", "allocations"),
    at_most(None, "median of a read, ms, beside 1,000 wrong logins a second", "logins", "median", "control", "logins"),
    at_most(1.1, "CPU a request in the gateway, 2 shards beside 1", "shards", "gateway_cpu", "shards1", "alone"),
    at_most(1.1, "CPU a request in the gateway, 4 shards beside 1", "shards", "gateway_cpu", "shards1", "shards4"),
    at_most(0.2, "connections of the shard farthest from the mean, 2 shards", "shards", "spread", None, "alone"),
    at_most(0.2, "connections of the shard farthest from the mean, 4 shards", "shards", "spread", None, "shards4"),
]


def evaluate(mark, workloads):
    """The values of all rotations; None if one of the two was not measured."""
    rounds = workloads.get(mark.workload, {}).get("rounds", {})
    ours, peer = rounds.get(mark.ours), rounds.get(mark.peer) if mark.peer else None
    if not ours or (mark.peer and not peer):
        return None
    own = [one[mark.figure] for one in ours]
    if not peer:
        return own
    return [a / b[mark.figure] for a, b in zip(own, peer) if b[mark.figure]] or None


def median(rounds, figure):
    values = [one[figure] for one in rounds if figure in one]
    return statistics.median(values) if values else None


def shown(value):
    """At least three digits, and all digits before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(workloads, names):
    last = None
    lines = ["| what | ours | beside | ratio (range) | mark | met |", "|---|---:|---:|---:|---:|---|"]
    for mark in MARKS:
        if not (values := evaluate(mark, workloads)):
            continue
        rounds = workloads[mark.workload]["rounds"]
        middle = statistics.median(values)
        if mark.bound is None:
            bound, met = "", ""
        elif mark.is_least:
            bound, met = f"≥ {mark.bound:g}", "yes" if middle >= mark.bound else "no"
        else:
            bound, met = f"≤ {mark.bound:g}", "yes" if middle <= mark.bound else "no"
        spread = f"({shown(min(values))}–{shown(max(values))})"
        what, last = "" if mark.what == last else mark.what, mark.what
        own = shown(median(rounds[mark.ours], mark.figure))
        if mark.peer:
            peer = f"{names[mark.peer]} {shown(median(rounds[mark.peer], mark.figure))}"
            lines.append(f"| {what} | {own} | {peer} | {shown(middle)} {spread} | {bound} | {met} |")
        else:
            lines.append(f"| {what} | {own} {spread} | | | {bound} | {met} |")
    return lines
