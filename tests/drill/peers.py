# SPDX-License-Identifier: MIT
"""The proxies of the fault matrix: how each is configured, started, and asked whether a backend is out.

All get the same deadlines: 500 ms to connect, 3 s for a response. They are short so that a fault that hangs
is over within the run. All may hold the longest answer. nginx and haproxy get whatever their manuals offer that keeps clients from seeing a
fault:

- nginx: the next server on every error, timeout, invalid head and failing status, POST too; the whole request
  buffered first; failures counted by all worker processes together; out for 10 s after the 11th.
- haproxy: retries on everything that it can retry on, each on another server; the whole request buffered
  first, in buffers so large that the longest body fits (a request that does not fit is never sent again);
  health checks each second, and traffic observed: ten errors in a row mark a server down.
  It is not told to end the sessions of such a server: then clients see those that were under way fail.
"""
import asyncio
import datetime
import json
import os
import pwd
import resource
import subprocess
import time

import messages
from procs import Child, Failed, until_ready, version_of

HOLDFAST_CONFIG = {
    "timeouts": {"connect_ms": 500, "response_ms": 3000},
    "retry": {
        "hold_bytes": messages.LONGEST_BODY + 4096,  # the longest answer, its first line and its chunks
        "hold_ms": 5000,  # no origin streams here, so no answer need flow before it is whole
    },
    "log_level": "warn",
}

NGINX_CONFIG = """\
user {user};
worker_processes {cores};
worker_rlimit_nofile {nofile};
daemon off;
pid {workdir}/nginx.pid;
error_log stderr crit;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    keepalive_timeout 300s;
    keepalive_requests 100000000;
    client_body_temp_path {workdir}/nginx-body;
    proxy_temp_path {workdir}/nginx-proxy;
    fastcgi_temp_path {workdir}/nginx-fastcgi;
    uwsgi_temp_path {workdir}/nginx-uwsgi;
    scgi_temp_path {workdir}/nginx-scgi;
    client_max_body_size 16m;
    client_body_buffer_size 2m;
    upstream origins {{
        zone origins 256k;
{servers}
        keepalive 128;
        keepalive_requests 100000000;
        keepalive_timeout 300s;
    }}
    server {{
        listen {listen} backlog=4096;
        location / {{
            proxy_pass http://origins;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504
                                http_403 http_404 http_429 non_idempotent;
            proxy_next_upstream_tries 0;
            proxy_next_upstream_timeout 0;
            proxy_connect_timeout 500ms;
            proxy_send_timeout 3s;
            proxy_read_timeout 3s;
            proxy_request_buffering on;
            proxy_buffering on;
            proxy_buffer_size 256k;
            proxy_buffers 8 256k;
            proxy_busy_buffers_size 512k;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"""

HAPROXY_CONFIG = """\
global
    nbthread {cores}
    maxconn 1000
    tune.bufsize 1179648
    tune.maxrewrite 16384
    no strict-limits
    stats socket {workdir}/haproxy.sock level admin
defaults
    mode http
    timeout connect 500ms
    timeout server 3s
    timeout client 300s
    timeout http-request 30s
    timeout http-keep-alive 300s
    timeout queue 5s
    timeout check 1s
    option http-keep-alive
    option http-buffer-request
    http-reuse always
    retries 3
    retry-on all-retryable-errors 403 404 408 425
    option redispatch 1
    option httpchk GET /healthz
    default-server check inter 1s fall 2 rise 2 observe layer7 error-limit 10 on-error mark-down
frontend front
    bind {listen} backlog 4096
    default_backend origins
backend origins
    balance roundrobin
{servers}
"""


def laid_over(config, further):
    """The sections and keys of CONFIG, with those of FURTHER in their place."""
    return {**config, **{key: {**config[key], **value} if isinstance(config.get(key), dict) else value
                         for key, value in further.items()}}


class Proxy:
    """A proxy in front of origins, from start() to stop()."""

    name = ""
    version_words = []
    version_pattern = ""

    def __init__(self, workdir, port, origins):
        self.workdir = workdir
        self.port = port
        self.origins = origins
        self.child = None
        self.seen_out_at = None

    def words(self):
        raise NotImplementedError

    def values(self, server_line):
        servers = "\n".join(server_line.format(name=origin.name, authority=origin.authority)
                            for origin in self.origins)
        return {
            "listen": f"127.0.0.1:{self.port}", "servers": servers, "workdir": self.workdir,
            "cores": os.cpu_count(), "user": pwd.getpwuid(os.getuid()).pw_name,
            "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        }

    def write(self, file_name, text):
        path = f"{self.workdir}/{file_name}"
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    async def start(self):
        self.child = Child(self.name, self.words())
        await until_ready(self.child, self._accepts)

    async def _accepts(self):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def ejected_since(self, name):
        """Since when (monotonic clock) the backend NAME is out; None: it is in, or the proxy can't tell."""

    def remembered(self, out):
        """For a proxy that says that a backend is out, but not since when: since we first saw it."""
        self.seen_out_at = (self.seen_out_at or time.monotonic()) if out else None
        return self.seen_out_at

    async def reset(self):
        """What an operator does when a backend is sound again, where that is needed."""

    async def oddities(self, victim):
        """What the proxy itself noticed that it should not have; "" if nothing."""
        return ""

    def stop(self):
        """Ends it; "" or what was wrong about that."""
        if self.child.popen.poll() is not None:
            return f"{self.name} ended with {self.child.popen.returncode}: {self.child.error_text()}"
        self.child.stop()
        return ""


class Holdfast(Proxy):
    """holdfast, asked through its admin endpoint."""

    name = "holdfast"
    version_pattern = r"(\d\S+)"
    binary = ""
    config = HOLDFAST_CONFIG

    @classmethod
    def merge_config(cls, path):
        """Lays the sections and keys of the file PATH over our config."""
        with open(path, encoding="utf-8") as file:
            cls.config = laid_over(cls.config, json.load(file))

    def overlay(self, further):
        """The same for this one alone."""
        self.config = laid_over(self.config, further)

    def words(self):
        config = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": {"listen": f"127.0.0.1:{self.port + 1}"},
            "backends": [{"name": origin.name, "url": f"http://{origin.authority}"}
                         for origin in self.origins],
            **self.config,
        }
        return [self.binary, "--config", self.write("holdfast.json", json.dumps(config, indent=2))]

    async def admin(self, method, path):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port + 1)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        try:
            answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise Failed(f"{method} {path}: {head!r}")
        return json.loads(body)

    async def backends(self):
        return {backend["name"]: backend for backend in (await self.admin("GET", "/admin/stats"))["backends"]}

    async def ejected_since(self, name):
        backend = (await self.backends())[name]
        seen = self.remembered(backend["state"] in ("ejected", "down"))
        if seen is None or backend["ejected_at"] is None:
            return seen
        at = datetime.datetime.fromisoformat(backend["ejected_at"].replace("Z", "+00:00"))
        # The text is cut to whole milliseconds; a request begun within that one may be older than the
        # ejection.
        return time.monotonic() - (time.time() - at.timestamp()) + 0.001

    async def reset(self):
        await self.admin("POST", "/admin/reset")

    async def oddities(self, victim):
        found = []
        for name, backend in (await self.backends()).items():
            if name != victim.name and (backend["failures"] or backend["ejections"]):
                errors = {key: count for key, count in backend["errors"].items() if count}
                found.append(f"{name}, which is sound, has {backend['failures']} failures, errors {errors}, "
                             f"{backend['non_200']} non-200, {backend['ejections']} ejections")
        return "; ".join(found)

    def stop(self):
        """It must end by itself, with 0, and no sanitizer may have said anything."""
        self.child.popen.terminate()
        try:
            ended = self.child.popen.wait(15)
        except subprocess.TimeoutExpired:
            ended = "not within 15 s"
        self.child.stderr.seek(0)
        said = self.child.stderr.read().decode(errors="replace")
        self.child.stop()
        if ended != 0 or "Sanitizer" in said or "runtime error" in said:
            return f"{self.name} ended with {ended}: {said}"
        return ""


class Nginx(Proxy):
    """nginx; its free edition can't tell which servers are out."""

    name = "nginx"
    version_words = ["nginx", "-v"]
    version_pattern = r"nginx/(\S+)"
    config = NGINX_CONFIG
    server_line = "        server {authority} max_fails=11 fail_timeout=10s;"

    def words(self):
        path = self.write("nginx.conf", NGINX_CONFIG.format(**self.values(self.server_line)))
        return ["nginx", "-p", self.workdir, "-e", "stderr", "-c", path]


class Haproxy(Proxy):
    """haproxy, asked through its stats socket."""

    name = "haproxy"
    version_words = ["haproxy", "-v"]
    version_pattern = r"version (\S+)"
    config = HAPROXY_CONFIG
    server_line = "    server {name} {authority}"

    def words(self):
        path = self.write("haproxy.conf", HAPROXY_CONFIG.format(**self.values(self.server_line)))
        return ["haproxy", "-db", "-f", path]

    async def ejected_since(self, name):
        reader, writer = await asyncio.open_unix_connection(f"{self.workdir}/haproxy.sock")
        writer.write(b"show stat\n")
        try:
            lines = (await reader.read()).decode().splitlines()
        finally:
            writer.close()
        columns = lines[0].lstrip("# ").split(",")
        for line in lines[1:]:
            values = dict(zip(columns, line.split(",")))
            if values.get("svname") == name:
                return self.remembered(values["status"].startswith("DOWN"))
        raise Failed(f"haproxy does not know {name}")


PROXIES = {proxy.name: proxy for proxy in (Holdfast, Nginx, Haproxy)}


def version(proxy):
    return version_of(proxy.version_words or [proxy.binary, "--version"], proxy.version_pattern)
