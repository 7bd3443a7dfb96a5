"""What the scripts of this folder start, wait for and end: etcd, gateways and others, on free ports of the loopback interface."""

import base64
import contextlib
import functools
import http.client
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# For what has to come at all; it says nothing about speed.
PATIENCE = 300
ROOT_PASSWORD = "rootpw"


class NotYet(Exception):
    """Raised by a condition that does not hold yet; it says what there is instead."""


def end_with(text):
    """Ends the script as failed."""
    raise SystemExit(f"{Path(sys.argv[0]).name}: {text}")


def eventually(what, condition, patience=PATIENCE):
    """What a condition returns as soon as that is true. It may also raise NotYet, or what a server that does not answer, or not
    with what was asked for, makes of a request."""
    deadline = time.monotonic() + patience
    while True:
        last = None
        try:
            if value := condition():
                return value
        except (OSError, http.client.HTTPException, ValueError, NotYet) as error:
            last = error
        if time.monotonic() > deadline:
            end_with(f"no {what}, within {patience} s" + (f": {last}" if last else ""))
        time.sleep(0.1)


# The ports below those that the kernel gives to outgoing connections, which would take them before a server binds them, in parts
# that each belong to one process of the tests at a time. Tests/TestSupport/LoopbackPort.swift claims its part in the same way.
PORTS, PARTS = range(10_000, 32_000), 20


@functools.cache
def own_ports():
    """The claim and an endless round of this process's ports. They are its own until its end, by a Unix socket whose name only one
    process can have (unix(7), "abstract")."""
    for part in range(PARTS):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0etcd-rest-tests-{part}")
        except OSError:
            claim.close()
            continue
        size = len(PORTS) // PARTS
        return claim, itertools.cycle(random.sample(PORTS[part * size:(part + 1) * size], size))
    end_with(f"more than {PARTS} processes of tests run at once")


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(count):
    _, ports = own_ports()
    return list(itertools.islice(filter(is_free, ports), count))


def loopback_urls(count):
    return [f"http://127.0.0.1:{port}" for port in free_ports(count)]


def program(arguments):
    """The gateway in a script's arguments, or that of the release build."""
    path = Path(arguments[0] if arguments else ROOT / ".build/release/etcd-rest").resolve()
    if not os.access(path, os.X_OK):
        end_with(f"no program at {path}: run make build")
    return path


def etcd(version="3.5"):
    """The etcd that scripts/install-etcd has put there, or the system's."""
    ours = ROOT / ".build-etcd" / version / "etcd"
    return ours if ours.exists() else "etcd"


def basic(user, password):
    """The header of Basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


ROOT_HEADER = basic("root", ROOT_PASSWORD)


def is_ok(url):
    """Whether a GET is answered with 200. Raises urllib.error.HTTPError if the answer is an error."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.status == 200


def enable_authentication(url):
    """Switches authentication on at the etcd of a URL; root then has ROOT_PASSWORD."""
    for path, body in [
        ("user/add", {"name": "root", "password": ROOT_PASSWORD}), ("role/add", {"name": "root"}),
        ("user/grant", {"user": "root", "role": "root"}), ("enable", {}),
    ]:
        urllib.request.urlopen(f"{url}/v3/auth/{path}", json.dumps(body).encode(), timeout=PATIENCE).close()


class Processes:
    """Processes in a folder, which has the log of each; killed at the end."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.processes = {}

    def start(self, name, *command, **options):
        with open(self.directory / f"{name}.log", "a") as log:
            self.processes[name] = subprocess.Popen(
                [str(word) for word in command], stdout=log, stderr=log, cwd=self.directory, **options)

    def end(self, name, number=signal.SIGKILL):
        process = self.processes[name]
        process.send_signal(number)
        result = process.wait(PATIENCE)
        del self.processes[name]
        return result

    def until(self, name, condition):
        """Waits until a condition holds for a process. If the process ends before that, ends the script with its log."""
        def is_so():
            self.expect_alive(name)
            return condition()
        return eventually(name, is_so)

    def expect_alive(self, name):
        result = self.processes[name].poll()
        if result is not None:
            end_with(f"{name} ended with {result}:\n" + (self.directory / f"{name}.log").read_text(errors="replace")[-4000:])

    def start_etcd(self, members, name, *flags):
        """One of the members; a dictionary has each one's URL for clients and its URL for members."""
        client, peer = members[name]
        self.start(
            name, etcd(), "--name", name, "--data-dir", self.directory / f"{name}.etcd", "--logger", "zap",
            "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer,
            "--initial-cluster", ",".join(f"{each}={urls[1]}" for each, urls in members.items()), *flags)

    def start_single_etcd(self):
        """A cluster of one member; returns once it is healthy."""
        self.etcd, peer = loopback_urls(2)
        self.start_etcd({"etcd": (self.etcd, peer)}, "etcd")
        eventually("healthy etcd", lambda: is_ok(f"{self.etcd}/health"))

    def __enter__(self):
        # They end with a script that is ended.
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        return self

    def __exit__(self, *_):
        for name in list(self.processes):
            self.end(name)


@contextlib.contextmanager
def dev_gateway(program):
    """The URL of `etcd-rest dev` with authentication: an etcd that is empty, and whose root has ROOT_PASSWORD."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [program, "dev", "--etcd", etcd(), "--listen", "127.0.0.1:0", "--auth", ROOT_PASSWORD], stdout=log, stderr=log)

        def url():
            log.seek(0)
            said = log.read()
            if process.poll() is not None:
                end_with(f"the gateway does not start:\n{said}")
            if match := re.search(r"is serving on (http://\S+)", said):
                return match[1]
            raise NotYet(said)

        try:
            yield eventually("gateway", url)
        finally:
            process.terminate()
            process.wait()


def ask_as_root(url, method="GET", body=None):
    """The body of an answer of dev_gateway's. Raises urllib.error.HTTPError if it is an error."""
    request = urllib.request.Request(url, body, ROOT_HEADER, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read()
