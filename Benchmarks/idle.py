"""What a server costs that does nothing: its start, its memory, kept connections; and the first request of a user."""

import contextlib
import statistics
import sys
import time

from loads import SERVERS, keep
from servers import Etcd, Ours, Stock, encoded, post

CONNECTIONS, USERS, STARTS = 4_000, 20, 5
IDLE_SECONDS = 8  # ours gives memory back after 5 s, at the next look
FLAGS = ["--max-connections", "15000"]
TITLES = {"start": "Start, and memory at rest", "connections": f"{CONNECTIONS:,} kept connections, each idle for {IDLE_SECONDS} s after one range",
          "users": f"First request of a user, {USERS} users"}
COLUMNS = {"start": [("start to ready, ms", "milliseconds", 0), ("memory, MiB", "memory", 1)],
           "connections": [("memory, KiB a connection", "memory", 1)],
           "users": [("ms", "milliseconds", 1), ("logins at etcd", "logins", 0), ("ms beyond etcd's login", "beyond", 2)]}
NOTES = {"users": "Beside it what etcd takes to log the same user in by its own gateway: nearly all of both is bcrypt."}


def measure(names, options):
    return {name: MEASURES[name](options) for name in names}


def measure_start(options):
    """`start to ready` is from the start of the process to its first 200, polled every millisecond."""
    rounds = {name: [] for name in ("ours", "limit", "envoy") if name in options.only}
    with Etcd(options.etcd) as etcd:
        for _ in range(STARTS):
            for name, figures in rounds.items():
                with SERVERS[name](etcd, options) as server:
                    time.sleep(0.5)  # what a start leaves behind settles
                    figures.append({"milliseconds": server.start_seconds * 1000, "memory": server.resident_mib()})
    return rounds


def measure_connections(options):
    rounds = {}
    for name in [name for name in ("ours", "limit", "stock", "envoy") if name in options.only]:
        # New processes for each: memory that others have freed is reused.
        with contextlib.ExitStack() as stack:
            etcd = stack.enter_context(Etcd(options.etcd))
            server = Ours(etcd, options, *FLAGS) if name == "ours" else SERVERS[name](etcd, options)
            process = etcd if isinstance(server, Stock) else stack.enter_context(server)
            for one in keep(server, 10, "/v3/kv/range"):
                one.close()
            time.sleep(0.5)  # what they leave behind settles
            before = process.resident_mib()
            sockets = keep(server, CONNECTIONS, "/v3/kv/range")
            time.sleep(IDLE_SECONDS)
            rounds[name] = [{"memory": (process.resident_mib() - before) * 1024 / CONNECTIONS}]
            for one in sockets:
                one.close()
        print(f"connections {name}: {rounds[name][0]}", file=sys.stderr)
    return rounds


def measure_users(options):
    rounds = {name: [] for name in ("ours", "stock") if name in options.only}
    with Etcd(options.etcd) as etcd, Ours(etcd, options) as ours:
        root = etcd.new_token()
        for number in range(USERS + 1):
            user = {"name": f"user{number}", "password": "a password"}
            post(f"{etcd.url}/v3/auth/user/add", user, root)
            post(f"{etcd.url}/v3/auth/user/grant", {"user": user["name"], "role": "root"}, root)
            started = time.monotonic()
            post(f"{etcd.url}/v3/auth/authenticate", user)
            login = (time.monotonic() - started) * 1000
            logins = etcd.handled("Authenticate")
            authorization = f"Basic {encoded(user['name'] + ':' + user['password'])}"
            started = time.monotonic()
            post(f"{ours.url}/v3/kv/range", {"key": encoded("foo")}, authorization)
            first = (time.monotonic() - started) * 1000
            if number:  # the first one warms up
                rounds["ours"].append({"milliseconds": first, "logins": etcd.handled("Authenticate") - logins, "beyond": first - login})
                if "stock" in rounds:
                    rounds["stock"].append({"milliseconds": login, "logins": 1})
    print(f"users: {statistics.median(figures['milliseconds'] for figures in rounds['ours']):.1f} ms", file=sys.stderr)
    return rounds


MEASURES = {"start": measure_start, "connections": measure_connections, "users": measure_users}
