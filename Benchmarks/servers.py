"""The processes a benchmark measures, each as an object with a `url`, an `authorization` and what /proc says of it."""

import base64
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
USER, PASSWORD = "root", "rootpw"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


# Directly to loopback, whatever proxy the environment names; certificates made for the run are not verified.
OPENER = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl._create_unverified_context()))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def compiled(source, *libraries):
    """The program compiled from a C file of this folder, compiled again if the file is newer."""
    source = ROOT / "Benchmarks" / source
    program = ROOT / ".build-bench" / source.stem
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(exist_ok=True)
        subprocess.run(["cc", "-O2", source, "-o", program, *libraries], check=True)
    return program


def post(url, message, authorization=None):
    """The answer to one JSON request; raises if the status is not 200."""
    request = urllib.request.Request(url, json.dumps(message).encode(), {"Content-Type": "application/json"})
    if authorization:
        request.add_header("Authorization", authorization)
    with OPENER.open(request, timeout=10) as response:
        return json.load(response)


def get(url):
    with OPENER.open(url, timeout=10) as response:
        return response.read().decode()


def wait_until(condition, process, what, seconds=120):
    """Polls every millisecond; raises an error if the process dies or the time is over."""
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

    def __init__(self, version, *flags):
        self.data = tempfile.TemporaryDirectory(prefix="etcd-rest-bench-")
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.url = client
        self.start(
            "etcd",
            [ROOT / ".build-etcd" / version / "etcd", "--name", "bench", "--data-dir", self.data.name,
             "--listen-client-urls", client, "--advertise-client-urls", client,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"bench={peer}",
             "--logger", "zap", "--log-outputs", "stderr", "--log-level", "error", *flags],
            stderr=subprocess.DEVNULL)
        try:
            self.ready(lambda: json.loads(get(f"{client}/health"))["health"] == "true")
            self.fill()
        except BaseException:
            self.__exit__()
            raise

    def fill(self):
        self.put_all({"foo": "bar", "limit": "bar"} | {f"many/{number:03}": "bar" for number in range(1000)} |
                     {f"list/{number:03}": f"{number:03}".ljust(100, "x") for number in range(100)})
        post(f"{self.url}/v3/auth/user/add", {"name": USER, "password": PASSWORD})
        post(f"{self.url}/v3/auth/user/grant", {"user": USER, "role": "root"})
        post(f"{self.url}/v3/auth/enable", {})

    def put_all(self, values, token=None):
        operations = [{"request_put": {"key": encoded(key), "value": encoded(value)}} for key, value in values.items()]
        for at in range(0, len(operations), 100):
            post(f"{self.url}/v3/kv/txn", {"success": operations[at:at + 100]}, token)

    def new_token(self):
        return post(f"{self.url}/v3/auth/authenticate", {"name": USER, "password": PASSWORD})["token"]

    def handled(self, method=None):
        """How many unary calls, of one method or all, etcd has answered with OK so far."""
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in get(f"{self.url}/metrics").splitlines()
            if line.startswith("grpc_server_handled_total{") and 'grpc_code="OK"' in line and 'grpc_type="unary"' in line
            and (method is None or f'grpc_method="{method}"' in line))

    def __exit__(self, *_):
        super().__exit__()
        self.data.cleanup()


class Stock:
    """etcd's own gateway as a separate server, though it is part of etcd's process."""

    def __init__(self, etcd, options):
        self.name, self.url = "etcd's gateway", etcd.url
        self.authorization = etcd.new_token()


class Direct(Stock):
    """etcd itself, by gRPC and without anything in between: h2load sends the calls."""

    def __init__(self, etcd, options):
        super().__init__(etcd, options)
        self.name = "gRPC"


class Upstream(Server):
    """limit/upstream.c in etcd's place: it answers with prepared messages, and costs next to nothing."""

    def __init__(self):
        header = number(1, 14841639068965178418) + number(2, 10276657743932975437) + number(3, 1200) + number(4, 2)
        pair = field(1, b"many/000") + number(2, 2) + number(3, 2) + number(4, 1) + field(5, b"bar")
        answers = {
            "/etcdserverpb.Auth/Authenticate": field(1, header) + field(2, b"aTokenOfTheLengthTheyHave.1200"),
            "/etcdserverpb.KV/Range": field(1, header) + field(2, pair) + number(4, 1),
            "/etcdserverpb.KV/Put": field(1, header),
            "/etcdserverpb.KV/Txn": field(1, header) + number(2, 1),
            "operation": field(3, field(1, field(1, number(3, 1200)) + field(2, pair) + number(4, 1))),
        }
        self.answers = tempfile.NamedTemporaryFile("w", prefix="etcd-rest-bench-")
        self.answers.writelines(f"{path} {message.hex()}\n" for path, message in answers.items())
        self.answers.flush()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.start("upstream", [compiled("limit/upstream.c", "-lnghttp2"), port, self.answers.name])
        self.ready(lambda: socket.create_connection(("127.0.0.1", port), timeout=10).close() is None)

    def new_token(self):
        return "aToken.1200"

    def handled(self, method=None):
        return None  # it does not count


def varint(value):
    """In protobuf's wire format, as are the two below."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes(parts + [value])


def number(tag, value):
    return varint(tag << 3) + varint(value)


def field(tag, value):
    return varint(tag << 3 | 2) + varint(len(value)) + value


class Limit(Server):
    """The reference program limit/limit.c: what the libraries can do at best, with nothing of a gateway in it."""

    def __init__(self, etcd, options):
        program = compiled("limit/limit.c", "-lmicrohttpd", "-lnghttp2", "-lpthread")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.start("limit", [program, port, str(options.shards), etcd.url.rpartition(":")[2], "foo", etcd.new_token()])
        self.ready(lambda: socket.create_connection(("127.0.0.1", port), timeout=10).close() is None)


class Envoy(Server):
    """Envoy with only its transcoder, and as many threads as the gateway has shards."""

    program = ROOT / ".build-envoy/envoy"

    @classmethod
    def missing(cls):
        """Why it cannot be measured; None if it can."""
        if cls.program.exists():
            return None
        reason = cls.program.parent / "missing"
        return reason.read_text().strip() if reason.exists() else "run scripts/install-envoy"

    def __init__(self, etcd, options):
        self.authorization = etcd.new_token()
        self.folder = tempfile.TemporaryDirectory(prefix="etcd-rest-bench-")
        protos = ROOT / "Sources/EtcdSchema/Protos"
        descriptors = pathlib.Path(self.folder.name) / "descriptors"
        files = sorted(str(file.relative_to(protos)) for file in protos.rglob("*.proto"))
        subprocess.run(["protoc", "-I", protos, "--include_imports", f"--descriptor_set_out={descriptors}", *files], check=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        configuration = pathlib.Path(self.folder.name) / "envoy.json"
        configuration.write_text(json.dumps(self.configuration(port, int(etcd.url.rpartition(":")[2]), str(descriptors))))
        self.start("Envoy", [self.program, "-c", configuration, "--concurrency", options.shards, "--log-level", "critical",
                             "--disable-hot-restart"], stderr=subprocess.DEVNULL)
        try:
            self.ready(lambda: post(f"{self.url}/v3/kv/range", {"key": encoded("foo")}, self.authorization) is not None)
        except BaseException:
            self.__exit__()
            raise

    @staticmethod
    def configuration(port, upstream, descriptors):
        def typed(name, **fields):
            return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}

        def address(number):
            return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

        most_bytes, many = 128 << 20, 1_000_000
        transcoder = typed(
            "filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder", proto_descriptor=descriptors,
            services=[f"etcdserverpb.{name}" for name in ("KV", "Watch", "Lease", "Auth", "Cluster", "Maintenance")],
            print_options={"preserve_proto_field_names": True}, max_request_body_size=most_bytes,
            max_response_body_size=most_bytes)
        manager = typed(
            "filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix="http",
            route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "etcd", "timeout": "60s"}}]}]},
            http_filters=[
                {"name": "transcoder", "typed_config": transcoder},
                {"name": "router", "typed_config": typed("filters.http.router.v3.Router")}])
        protocol = typed("upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}})
        cluster = {
            "name": "etcd", "type": "STATIC", "per_connection_buffer_limit_bytes": most_bytes,
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
            "circuit_breakers": {"thresholds": [
                {"max_connections": many, "max_pending_requests": many, "max_requests": many}]},
            "load_assignment": {"cluster_name": "etcd", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]}}
        return {"static_resources": {
            "listeners": [{
                "address": address(port), "per_connection_buffer_limit_bytes": most_bytes, "enable_reuse_port": True,
                "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
            "clusters": [cluster]}}


class Ours(Server):
    """etcd-rest, built for release; `flags` are those of `etcd-rest serve`, and `options.under` runs it."""

    authorization = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    def __init__(self, etcd, options, *flags, shards=None, listen="127.0.0.1:0"):
        self.start(
            "etcd-rest",
            [*getattr(options, "under", []), options.program, "serve", "--listen", listen, "--endpoints", etcd.url, "--shards", shards or options.shards, *flags],
            stdout=subprocess.PIPE, text=True)
        try:
            self.url = self.announced_url()
            self.ready(lambda: get(f"{self.url}/readyz") is not None)
        except BaseException:
            self.__exit__()
            raise
        # Its further output must not fill the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def announced_url(self):
        for line in self.process.stdout:
            if found := re.search(r"is serving on (https?://\S+)", line):
                return found[1]
        raise SystemExit("etcd-rest ended without saying where it serves")


class OursWithTLS(Ours):
    """The same behind TLS, with a certificate made for the run."""

    def __init__(self, etcd, options, *flags):
        self.folder = tempfile.TemporaryDirectory(prefix="etcd-rest-bench-")
        certificate, key = (f"{self.folder.name}/{name}.pem" for name in ("certificate", "key"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-keyout", key, "-out", certificate], check=True, capture_output=True)
        super().__init__(etcd, options, "--tls-cert", certificate, "--tls-key", key, *flags, listen="https://127.0.0.1:0")


def encoded(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()
