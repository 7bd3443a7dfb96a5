"""The processes a benchmark measures, each as an object with a `url`, an `authorization` and what /proc says of it."""

import base64
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
USER, PASSWORD = "root", "rootpw"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


# Straight to loopback, whatever proxy the environment names.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def post(url, message, authorization=None):
    """The answer to one JSON request; raises where the status is not 200."""
    request = urllib.request.Request(url, json.dumps(message).encode(), {"Content-Type": "application/json"})
    if authorization:
        request.add_header("Authorization", authorization)
    with OPENER.open(request, timeout=10) as response:
        return json.load(response)


def get(url):
    with OPENER.open(url, timeout=10) as response:
        return response.read().decode()


def wait_until(condition, process, what, seconds=20):
    """Polls every millisecond; ends in an error where the process dies or the time is over."""
    limit = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:  # not listening yet, or an HTTP status that says "not yet"
            pass
        if process.poll() is not None:
            raise SystemExit(f"{what} ended with status {process.returncode} before it was ready")
        if time.monotonic() > limit:
            raise SystemExit(f"{what} was not ready within {seconds} s")
        time.sleep(0.001)


class Server:
    """One process, ended when the `with` block ends."""

    authorization = None

    def start(self, name, command, **options):
        self.name = name
        self.started = time.monotonic()
        self.process = subprocess.Popen([str(word) for word in command], **options)

    def ready(self, condition):
        wait_until(condition, self.process, self.name)
        self.start_seconds = time.monotonic() - self.started

    def cpu_seconds(self):
        """User and system time of all threads so far (proc(5), /proc/PID/stat; in steps of a clock tick)."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()  # the second field, the name, may hold spaces
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def resident_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Etcd(Server):
    """A fresh etcd with authentication on and the keys of the workloads in it; also the stock gateway."""

    def __init__(self, version):
        self.data = tempfile.TemporaryDirectory(prefix="etcd-rest-bench-")
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.url = client
        self.start(
            "etcd",
            [ROOT / ".build-etcd" / version / "etcd", "--name", "bench", "--data-dir", self.data.name,
             "--listen-client-urls", client, "--advertise-client-urls", client,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"bench={peer}",
             "--logger", "zap", "--log-outputs", "stderr", "--log-level", "error"],
            stderr=subprocess.DEVNULL)
        try:
            self.ready(lambda: json.loads(get(f"{client}/health"))["health"] == "true")
            self.fill()
        except BaseException:
            self.__exit__()
            raise

    def fill(self):
        def put(key, value):
            post(f"{self.url}/v3/kv/put", {"key": encoded(key), "value": encoded(value)})

        put("foo", "bar")
        for number in range(1000):
            put(f"many/{number:03}", "bar")
        for number in range(100):
            put(f"list/{number:03}", f"the value of entry {number:03}, of a length as configurations have it")
        post(f"{self.url}/v3/auth/user/add", {"name": USER, "password": PASSWORD})
        post(f"{self.url}/v3/auth/user/grant", {"user": USER, "role": "root"})
        post(f"{self.url}/v3/auth/enable", {})

    def new_token(self):
        return post(f"{self.url}/v3/auth/authenticate", {"name": USER, "password": PASSWORD})["token"]

    def handled(self):
        """How many unary calls etcd has answered with OK so far."""
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in get(f"{self.url}/metrics").splitlines()
            if line.startswith("grpc_server_handled_total{") and 'grpc_code="OK"' in line and 'grpc_type="unary"' in line)

    def __exit__(self, *_):
        super().__exit__()
        self.data.cleanup()


class Stock:
    """etcd's own gateway, seen as a server of its own: it lives in etcd's process."""

    def __init__(self, etcd):
        self.name, self.url = "stock", etcd.url
        self.authorization = etcd.new_token()


class Limit(Server):
    """The reference program limit/limit.c: what the libraries can do at best, with nothing of a gateway in it."""

    def __init__(self, etcd, shards):
        program = ROOT / ".build-bench" / "limit"
        program.parent.mkdir(exist_ok=True)
        subprocess.run(
            ["cc", "-O2", ROOT / "Benchmarks/limit/limit.c", "-o", program, "-lmicrohttpd", "-lnghttp2", "-lpthread"],
            check=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.start("limit", [program, port, shards, etcd.url.rpartition(":")[2], "foo", etcd.new_token()])
        self.ready(lambda: socket.create_connection(("127.0.0.1", port), timeout=10).close() is None)


class Ours(Server):
    """etcd-rest, built for release."""

    authorization = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    @staticmethod
    def program():
        folder = subprocess.run(
            ["swift", "build", "-c", "release", "--show-bin-path"], cwd=ROOT, check=True, capture_output=True, text=True)
        return pathlib.Path(folder.stdout.strip()) / "etcd-rest"

    @staticmethod
    def installed_version():
        return subprocess.run([Ours.program(), "--version"], check=True, capture_output=True, text=True).stdout.strip()

    def __init__(self, etcd, shards, *flags):
        self.start(
            "etcd-rest",
            [self.program(), "serve", "--listen", "127.0.0.1:0", "--endpoints", etcd.url, "--shards", shards, *flags],
            stdout=subprocess.PIPE, text=True)
        try:
            self.url = self.announced_url()
            self.ready(lambda: get(f"{self.url}/readyz") is not None)
        except BaseException:
            self.__exit__()
            raise
        # Whatever it prints from here on must not fill the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def announced_url(self):
        for line in self.process.stdout:
            if found := re.search(r"is serving on (http://\S+)", line):
                return found[1]
        raise SystemExit("etcd-rest ended without saying where it serves")


def encoded(text):
    return base64.b64encode(text.encode()).decode()
