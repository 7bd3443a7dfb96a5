"""The workload of logins: what wrong passwords cost users with right ones, beside no flood, and as many requests that ask etcd nothing."""

import asyncio
import base64
import collections
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from urllib.parse import urlsplit

from servers import Etcd, Ours

# So many requests a second in all, over so many kept connections.
FLOOD_RATE, FLOOD_CONNECTIONS = 1_000, 50
# Clients of a user with the right password, each with that pause between its reads.
READERS, READ_INTERVAL = 4, 0.002
READ = "GET /keys/foo HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n\r\n"
CORES = os.sched_getaffinity(0)
FLOODS = {"none": "no flood", "control": "GET /livez", "logins": "wrong logins"}

TITLES = {"logins": f"Reads of one user beside {FLOOD_RATE:,} wrong logins a second, each of another name"}
COLUMNS = {"logins": [("mean, ms", "mean", 2), ("median, ms", "median", 2), ("p99, ms", "p99", 2), ("reads", "count", 0),
                      ("answers to the flood, a second", "rate", 0)]}
NOTES = {"logins": f"{READERS} clients read a key; the flood has {FLOOD_CONNECTIONS} kept connections, and its clients a core of their "
                   "own, as they would be on other machines. Beside it no flood, and the same rate of `GET /livez`."}


async def ask(connection, request):
    """The status of the answer, whose body is thrown away."""
    reader, writer = connection
    writer.write(request.encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
    return head.split()[1]


async def flood(kind, port, seconds):
    """Sends requests at an even rate, whether answers are late or not, and prints the number of answers by status."""
    statuses = collections.Counter()

    async def client(number):
        connection, end = None, time.monotonic() + seconds
        due = time.monotonic() + number / FLOOD_RATE
        count = 0
        while due < end:
            await asyncio.sleep(max(0, due - time.monotonic()))
            due += FLOOD_CONNECTIONS / FLOOD_RATE
            count += 1
            name = base64.b64encode(f"user{number}-{count}:wrong".encode()).decode()
            request = ("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" if kind == "control" else
                       f"GET /keys/foo HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {name}\r\n\r\n")
            try:
                connection = connection or await asyncio.open_connection("127.0.0.1", port)
                statuses[await ask(connection, request)] += 1
            except (OSError, asyncio.IncompleteReadError) as error:
                statuses[type(error).__name__] += 1
                connection = None

    await asyncio.gather(*(client(number) for number in range(FLOOD_CONNECTIONS)))
    print(json.dumps(statuses))


async def read(port, authorization, seconds):
    """How long the reads took, in milliseconds."""
    times, request = [], READ.format(authorization)

    async def client():
        connection = await asyncio.open_connection("127.0.0.1", port)
        end = time.monotonic() + seconds
        while (begin := time.monotonic()) < end:
            if (status := await ask(connection, request)) != "200":
                raise SystemExit(f"a read with the right password was answered with {status}")
            times.append((time.monotonic() - begin) * 1000)
            await asyncio.sleep(READ_INTERVAL)

    await asyncio.gather(*(client() for _ in range(READERS)))
    return times


def measure_once(kind, server, seconds):
    port = urlsplit(server.url).port
    if kind == "none":
        times = asyncio.run(read(port, server.authorization, seconds))
        return summary(times, {}, seconds)
    # In a process of its own, so that the flood's work is not counted as a read's time.
    command = [sys.executable, __file__, kind, str(port), str(seconds + 1)]
    with on_core(max(CORES)):
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with other:
        time.sleep(0.5)
        times = asyncio.run(read(port, server.authorization, seconds))
        statuses = json.loads(other.stdout.read())
    return summary(times, statuses, seconds + 1)


def summary(times, statuses, seconds):
    return {"count": len(times), "mean": statistics.mean(times), "median": statistics.median(times),
            "p99": sorted(times)[len(times) * 99 // 100], "rate": sum(statuses.values()) / seconds, "statuses": statuses}


@contextlib.contextmanager
def on_core(core):
    """Runs this process, and those that it starts, on that core while the block runs."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def measure(names, options):
    """The rounds of each flood; each round has one after the other."""
    rounds = {kind: [] for kind in FLOODS}
    with on_core(min(CORES)), Etcd(options.etcd) as etcd, Ours(etcd, options) as server:
        for kind in FLOODS:  # warms up
            measure_once(kind, server, 1)
        for number in range(options.rounds):
            for kind, figures in rounds.items():
                figures.append(measure_once(kind, server, options.seconds))
                print(f"logins {number + 1}/{options.rounds} {FLOODS[kind]}: {figures[-1]}", file=sys.stderr)
    return {"logins": rounds}


if __name__ == "__main__":
    asyncio.run(flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
