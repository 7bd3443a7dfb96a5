"""Three etcds with authentication, two gateways, HAProxy before them and a Prometheus with our alerts: what
docker/compose.cluster.yaml describes, of Debian's packages, on the loopback interface. scripts/run-cluster runs it for
somebody to look at, scripts/check-cluster for a test."""

import json
import shutil
import urllib.parse
import urllib.request

from processes import PATIENCE, ROOT, Processes, enable_authentication, end_with, eventually, is_ok, loopback_urls
from proxies import HAProxy

MEMBERS = ["etcd1", "etcd2", "etcd3"]
GATEWAYS = ["gateway1", "gateway2"]


def bare(url):
    return url.removeprefix("http://")


class Cluster(Processes):
    def __init__(self, directory, program, web=None, prometheus=None):
        """`web` and `prometheus` are URLs of the loopback interface; by default with free ports."""
        super().__init__(directory)
        self.program = program
        urls = iter(loopback_urls(2 * len(MEMBERS) + 2 * len(GATEWAYS) + 2))
        self.members = {name: (next(urls), next(urls)) for name in MEMBERS}
        self.gateways = {name: next(urls) for name in GATEWAYS}
        self.admins = {name: next(urls) for name in GATEWAYS}
        self.web = web or next(urls)
        self.prometheus = prometheus or next(urls)
        self.haproxy = HAProxy(self, bare(self.web), [bare(url) for url in self.gateways.values()])

    def start_all(self, **options):
        """Returns once clients are served, and Prometheus has scraped."""
        for name in MEMBERS:
            self.start_member(name)
        for name in MEMBERS:
            self.until(name, lambda name=name: is_ok(f"{self.members[name][0]}/health"))
        enable_authentication(self.members[MEMBERS[0]][0])
        for name in GATEWAYS:
            self.start_gateway(name)
        self.haproxy.start()
        self.until("haproxy", lambda: is_ok(f"{self.web}/readyz"))
        self.start_prometheus(**options)

    def start_member(self, name):
        self.start_etcd(self.members, name)

    def start_gateway(self, name):
        self.start(
            name, self.program, "serve", "--listen", self.gateways[name], "--admin-listen", bare(self.admins[name]),
            "--endpoints", ",".join(client for client, _ in self.members.values()), "--trusted-proxies", "127.0.0.1",
            "--shutdown-delay", "10s")
        self.until(name, lambda: is_ok(f"{self.admins[name]}/readyz"))

    def start_again(self, name):
        """A member or a gateway that has ended."""
        (self.start_member if name in MEMBERS else self.start_gateway)(name)

    def start_prometheus(self, interval=None):
        """`interval` is a time such as 1s, and replaces those in the configuration."""
        if not shutil.which("prometheus"):
            end_with("no Prometheus: run scripts/install-system-packages test")
        text = (ROOT / "deploy/prometheus/prometheus.yaml").read_text()
        if interval:
            assert text.count("_interval: 5s") == 2, "prometheus.yaml has other intervals"
            text = text.replace("_interval: 5s", f"_interval: {interval}")
        (self.directory / "prometheus.yaml").write_text(text)
        shutil.copy(ROOT / "deploy/prometheus/alerts.yaml", self.directory)
        (self.directory / "targets.json").write_text(json.dumps([{"targets": [bare(url) for url in self.admins.values()]}]))
        self.start(
            "prometheus", "prometheus", "--config.file=prometheus.yaml", f"--storage.tsdb.path={self.directory}/tsdb",
            f"--web.listen-address={bare(self.prometheus)}")
        self.until("prometheus", lambda: is_ok(f"{self.prometheus}/-/ready"))
        eventually("scrape of both gateways", lambda: len(self.query("up == 1")) == len(GATEWAYS))

    def query(self, text):
        """The series of an instant query: pairs of the labels and the value."""
        answer = self._ask_prometheus("query?" + urllib.parse.urlencode({"query": text}))
        return [(series["metric"], float(series["value"][1])) for series in answer["result"]]

    def alerts(self):
        """The names and labels of the alerts that are true, even if not yet for long enough to fire."""
        return [alert["labels"] for alert in self._ask_prometheus("alerts")["alerts"]]

    def _ask_prometheus(self, path):
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/{path}", timeout=PATIENCE) as answer:
            return json.load(answer)["data"]
