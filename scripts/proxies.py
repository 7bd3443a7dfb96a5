"""Reverse proxies as deploy/haproxy and docs/proxies.md configure them, before gateways."""

import os
import re
import shutil
import socket

from processes import ROOT, end_with

HAPROXY = "/usr/sbin/haproxy"
NGINX = "/usr/sbin/nginx"
PAGE = (ROOT / "docs/proxies.md").read_text()
# The names of the two gateways in configurations.
SERVERS = ["one", "two"]


def blocks(heading, language):
    """The blocks of code below a heading of the page."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.S)


def put_in(text, *replacements):
    """A text in which the first of each pair, which must occur once, is replaced by the second."""
    for old, new in replacements:
        if text.count(old) != 1:
            end_with(f"{old} is {text.count(old)} times in\n{text}")
        text = text.replace(old, new)
    return text


def start_nginx(processes, listen, gateways):
    """`listen` and the one or two `gateways` are HOST:PORT."""
    location, upstream = blocks("nginx", "nginx")
    [mapping] = re.findall(r"`(map [^`]*)`", PAGE)
    if len(gateways) == 1:
        location, upstream = put_in(location, ("127.0.0.1:8379", gateways[0])), ""
    else:
        location = put_in(location, ("http://127.0.0.1:8379", "http://etcd-rest"))
        upstream = put_in(upstream, ("10.0.0.11:8379", gateways[0]), ("10.0.0.12:8379", gateways[1]))
    folder = processes.directory
    (folder / "nginx.conf").write_text(f"""
      daemon off; master_process off; pid {folder}/nginx.pid;
      events {{ }}
      http {{
        access_log off;
        client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
        fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
        {mapping}
        {upstream}
        server {{ listen {listen}; {location} }}
      }}""")
    processes.start("nginx", NGINX, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf")


class HAProxy:
    """Belongs to a folder of processes, of which it is one."""

    def __init__(self, processes, listen, gateways):
        """`listen` and `gateways` are HOST:PORT; HAProxy's "one" is the first of the gateways."""
        self.processes = processes
        self.variables = {"LISTEN": listen, **{f"GATEWAY_{name.upper()}": at for name, at in zip(SERVERS, gateways)}}

    def start(self):
        if not shutil.which(HAPROXY):
            end_with("no HAProxy: run scripts/install-system-packages test")
        folder = self.processes.directory
        (folder / "stats.cfg").write_text(f"global\n  stats socket {folder}/admin level user\n")
        self.processes.start(
            "haproxy", HAPROXY, "-db", "-f", "stats.cfg", "-f", ROOT / "deploy/haproxy/haproxy.cfg",
            env={**os.environ, **self.variables})

    def field(self, server, wanted):
        """A server's values in HAProxy's statistics: `status`, `stot` (the number of requests so far), and others."""
        header, *rows = self._tell("show stat").lstrip("# ").splitlines()
        names = header.split(",")
        for row in rows:
            values = dict(zip(names, row.split(",")))
            if (values.get("pxname"), values.get("svname")) == ("etcd-rest", server):
                return values[wanted]
        end_with(f"HAProxy knows no server {server}")

    def _tell(self, command):
        """What HAProxy answers on its admin socket."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.processes.directory / "admin"))
            admin.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: admin.recv(65536), b"")).decode()
