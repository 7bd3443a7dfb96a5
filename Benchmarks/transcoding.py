"""Transcoding by itself, in no server: etcd-rest's beside swift-protobuf's JSON (Benchmarks/Transcoding)."""

import json
import subprocess
import sys

from callgrind import costs
from servers import ROOT

BENCHMARK = ROOT / ".build/release/TranscodingBenchmark"
TITLES = {"transcoding": "Transcoding by itself"}
SMALL = {"put": "put", "range": "range of one key", "txn": "transaction of 10", "range100": "range of 100 × 100 B"}
LARGE = {"put1m": "put of 1 MiB", "range1m": "range of 1 MiB"}
COUNTED = ["put", "range"]
COLUMNS = {"transcoding": [(f"{title}, ns", name, 0) for name, title in SMALL.items()] +
                          [(f"{title}, GB/s", f"{name} rate", 2) for name, title in LARGE.items()] +
                          [("allocations", "allocations", 1)]}
NOTES = {"transcoding": "Nanoseconds of CPU a message: puts and transactions from JSON to protobuf, ranges from protobuf to JSON. GB/s are those of "
                        "the value, in binary. *JSON alone* is from JSON to a message of swift-protobuf, or from that to JSON; *JSON and "
                        "protobuf* also reads or writes protobuf's bytes, as a gateway has to. Allocations are those of a put or a "
                        "range of one key, whichever has more."}


def measure(_, options):
    if not BENCHMARK.exists():
        raise SystemExit(f"there is no {BENCHMARK}: `make bench` builds it")
    output = subprocess.run([BENCHMARK, "--json", str(options.rounds)], check=True, stdout=subprocess.PIPE, text=True).stdout
    rounds = {"ours": [], "json": [], "both": []}
    for figures in json.loads(output):
        for name in rounds:
            one = {case: times[name] for case, times in figures.items()}
            # Messages a second, in millions; gigabytes of the value a second.
            rounds[name].append(one | {f"{case} rate": (1 << 20 if case in LARGE else 1e3) / one[case] for case in one})
    allocations = max(cost["allocations"] for cost in costs(BENCHMARK, COUNTED).values())
    for one in rounds["ours"]:
        one["allocations"] = allocations
    print(f"transcoding: {rounds}", file=sys.stderr)
    return {"transcoding": rounds}
