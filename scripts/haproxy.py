"""HAProxy as deploy/haproxy configures it, before two gateways."""

import os
import shutil
import socket

from processes import ROOT, end_with

PROGRAM = "/usr/sbin/haproxy"
SERVERS = ["one", "two"]


class HAProxy:
    """Of a folder of processes, of which it is one."""

    def __init__(self, processes, listen, gateways):
        """`listen` and `gateways` are HOST:PORT; what HAProxy calls "one" is the first of the gateways."""
        self.processes = processes
        self.variables = {"LISTEN": listen, **{f"GATEWAY_{name.upper()}": at for name, at in zip(SERVERS, gateways)}}

    def start(self):
        if not shutil.which(PROGRAM):
            end_with("no HAProxy: run scripts/install-system-packages test")
        folder = self.processes.directory
        (folder / "stats.cfg").write_text(f"global\n  stats socket {folder}/admin level user\n")
        self.processes.start(
            "haproxy", PROGRAM, "-db", "-f", "stats.cfg", "-f", ROOT / "deploy/haproxy/haproxy.cfg",
            env={**os.environ, **self.variables})

    def field(self, server, wanted):
        """Of a server in HAProxy's statistics: `status`, `stot`, which is the requests so far, and others."""
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
