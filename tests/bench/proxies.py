# SPDX-License-Identifier: MIT
"""The proxies under test: how each is configured, started and asked its version.

Fair and tuned: keep-alive on both sides, a pool of connections to the origins, no access log, the other
origin when one fails; nginx and haproxy get as many workers as most advise, one per core. holdfast runs with
its defaults. To add a proxy: write its config and add a line to make_proxies().
"""
import re
import subprocess
from dataclasses import dataclass

NGINX_CONFIG = """\
user {user};
worker_processes {cores};
worker_rlimit_nofile {nofile};
daemon off;
pid {workdir}/nginx.pid;
error_log stderr error;
events {{
    worker_connections 16384;
    multi_accept on;
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
    client_body_buffer_size 1m;
    upstream origins {{
        server {origin1};
        server {origin2};
        keepalive 1024;
        keepalive_requests 100000000;
        keepalive_timeout 300s;
    }}
    server {{
        listen {listen} backlog=4096 reuseport;
        location / {{
            proxy_pass http://origins;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_next_upstream error timeout http_500 http_502 http_503 http_504 non_idempotent;
            proxy_connect_timeout 1s;
            proxy_buffers 4 256k;
            proxy_buffer_size 16k;
            proxy_busy_buffers_size 512k;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"""

HAPROXY_CONFIG = """\
global
    nbthread {cores}
    maxconn 16384
    no strict-limits
defaults
    mode http
    timeout connect 1s
    timeout client 300s
    timeout http-keep-alive 300s
    timeout server 30s
    retries 3
    option redispatch 1
    option forwardfor
    option http-keep-alive
    http-reuse always
frontend front
    bind {listen} backlog 4096
    default_backend origins
backend origins
    balance roundrobin
    server one {origin1}
    server two {origin2}
"""


@dataclass
class Proxy:
    """`argv` and `config` are templates, filled with the values of one start: listen, origin1, ..."""
    name: str
    version_argv: list
    version_pattern: str
    argv: list
    config: str = ""

    def command(self, values):
        return [word.format(**values) for word in self.argv]

    def write_config(self, values):
        if self.config:
            with open(f"{values['workdir']}/{self.name}.conf", "w", encoding="ascii") as file:
                file.write(self.config.format(**values))

    def version(self):
        done = subprocess.run(self.version_argv, capture_output=True, text=True, check=False)
        found = re.search(self.version_pattern, done.stdout + done.stderr)
        return found.group(1) if found else "unknown"


def make_proxies(holdfast):
    """All proxies known, by name, in the order of the table's columns."""
    return {proxy.name: proxy for proxy in (
        Proxy("holdfast", [holdfast, "--version"], r"(\d\S+)",
              [holdfast, "-l", "{listen}", "-a", "off", "-b", "http://{origin1}", "-b", "http://{origin2}"]),
        Proxy("nginx", ["nginx", "-v"], r"nginx/(\S+)",
              ["nginx", "-p", "{workdir}", "-e", "stderr", "-c", "{workdir}/nginx.conf"], NGINX_CONFIG),
        Proxy("haproxy", ["haproxy", "-v"], r"version (\S+)",
              ["haproxy", "-db", "-f", "{workdir}/haproxy.conf"], HAPROXY_CONFIG),
    )}
