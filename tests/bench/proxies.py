# SPDX-License-Identifier: MIT
"""The proxies under test: how each is configured, started and asked its version.

Fair and tuned: keep-alive on both sides, a pool of connections to the origins, no access log, the other
origin when one fails; nginx and haproxy get as many workers as most advise, one per core; apache and varnish
get the threads that 1000 clients of slow origins need. holdfast runs with its defaults, but for the row
delay20-1000, where more requests than its default allows are to be at work at once. In the row kill-64
haproxy and varnish also get what they have against dead origins: in the other rows it would only cost time.
To add a proxy: write its config and add a line to make_proxies().
"""
from dataclasses import dataclass

from load import OUT
from procs import version_of

WORKERS = 256  # holdfast's default
RELAY = f"{OUT}/relay"

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
    balance roundrobin{when_killed}
    server one {origin1}
    server two {origin2}
"""

HAPROXY_WHEN_KILLED = """
    retry-on all-retryable-errors
    default-server check inter 1s observe layer7 error-limit 10 on-error mark-down"""

APACHE_CONFIG = """\
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule slotmem_shm_module /usr/lib/apache2/modules/mod_slotmem_shm.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule proxy_balancer_module /usr/lib/apache2/modules/mod_proxy_balancer.so
LoadModule lbmethod_byrequests_module /usr/lib/apache2/modules/mod_lbmethod_byrequests.so
ServerRoot {workdir}
ServerName bench
DefaultRuntimeDir {workdir}
PidFile {workdir}/apache.pid
ErrorLog /dev/stderr
LogLevel crit
Listen {listen}
ListenBacklog 4096
ServerLimit 2
StartServers 2
ThreadLimit 512
ThreadsPerChild 512
MaxRequestWorkers 1024
MinSpareThreads 64
MaxSpareThreads 1024
MaxConnectionsPerChild 0
AsyncRequestWorkerFactor 20
KeepAlive On
KeepAliveTimeout 300
MaxKeepAliveRequests 0
Timeout 30
ProxyPreserveHost On
<Proxy balancer://origins>
    BalancerMember http://{origin1} max=512 ttl=300 retry=10 connectiontimeout=1
    BalancerMember http://{origin2} max=512 ttl=300 retry=10 connectiontimeout=1
    ProxySet lbmethod=byrequests maxattempts=1
</Proxy>
ProxyPass / balancer://origins/
"""

VARNISH_CONFIG = """\
vcl 4.1;
import directors;
import std;
backend one {{
    .host = "127.0.0.1";
    .port = "{port1}";
    .connect_timeout = 1s;{when_killed}
}}
backend two {{
    .host = "127.0.0.1";
    .port = "{port2}";
    .connect_timeout = 1s;{when_killed}
}}
sub vcl_init {{
    new origins = directors.round_robin();
    origins.add_backend(one);
    origins.add_backend(two);
}}
sub vcl_recv {{
    if (req.http.Content-Length) {{
        std.cache_req_body(2MB);
    }}
    return (pass);
}}
sub vcl_backend_fetch {{
    if (bereq.http.X-Next == "one") {{
        set bereq.backend = one;
    }} else if (bereq.http.X-Next == "two") {{
        set bereq.backend = two;
    }} else {{
        set bereq.backend = origins.backend();
    }}
}}
sub vcl_backend_response {{
    if (beresp.status >= 500 && bereq.retries < 1) {{
        return (retry);
    }}
    return (deliver);
}}
sub vcl_backend_error {{
    if (bereq.retries < 1) {{
        if (beresp.backend == one) {{
            set bereq.http.X-Next = "two";
        }} else {{
            set bereq.http.X-Next = "one";
        }}
        return (retry);
    }}
    return (deliver);
}}
"""

VARNISH_WHEN_KILLED = """
    .probe = {
        .url = "/";
        .interval = 1s;
        .timeout = 1s;
        .window = 3;
        .threshold = 2;
        .initial = 3;
    }"""


@dataclass
class Proxy:
    """`argv` and `config` are templates, filled with the values of one start: listen, origin1, ... An
    optional one is left out where it is not installed; one that is a yardstick, unless it is named."""
    name: str
    version_argv: list
    version_pattern: str
    argv: list
    config: str = ""
    package: str = ""
    optional: bool = False
    yardstick: bool = False
    when_killed: str = ""

    def command(self, values):
        return [word.format(**values) for word in self.argv]

    def config_text(self, values):
        return self.config.format(port1=values["origin1"].rsplit(":", 1)[1],
                                  port2=values["origin2"].rsplit(":", 1)[1], **values)

    def write_config(self, values):
        if self.config:
            with open(f"{values['workdir']}/{self.name}.conf", "w", encoding="ascii") as file:
                file.write(self.config_text(values))

    def version(self):
        return version_of(self.version_argv, self.version_pattern)


def make_proxies(holdfast):
    """All proxies known, by name, in the order of the table's columns."""
    return {proxy.name: proxy for proxy in (
        Proxy("holdfast", [holdfast, "--version"], r"(\d\S+)",
              [holdfast, "-l", "{listen}", "-a", "off", "-w", "{workers}", "-b", "http://{origin1}",
               "-b", "http://{origin2}"]),
        Proxy("nginx", ["nginx", "-v"], r"nginx/(\S+)",
              ["nginx", "-p", "{workdir}", "-e", "stderr", "-c", "{workdir}/nginx.conf"], NGINX_CONFIG,
              package="nginx-light"),
        Proxy("haproxy", ["haproxy", "-v"], r"version (\S+)",
              ["haproxy", "-db", "-f", "{workdir}/haproxy.conf"], HAPROXY_CONFIG,
              package="haproxy", when_killed=HAPROXY_WHEN_KILLED),
        Proxy("apache", ["apache2", "-v"], r"Apache/(\S+)",
              ["apache2", "-DFOREGROUND", "-f", "{workdir}/apache.conf"], APACHE_CONFIG,
              package="apache2-bin", optional=True),
        Proxy("varnish", ["varnishd", "-V"], r"varnish-(\d\S+)",
              ["varnishd", "-F", "-j", "none", "-n", "{workdir}/varnish", "-a", "{listen}",
               "-f", "{workdir}/varnish.conf", "-s", "malloc,64m", "-p", "thread_pools=2", "-p",
               "thread_pool_min=100", "-p", "thread_pool_max=1000", "-p", "timeout_idle=300"], VARNISH_CONFIG,
              package="varnish", optional=True, when_killed=VARNISH_WHEN_KILLED),
        Proxy("relay", [RELAY, "--version"], r"relay (\S+)", [RELAY, "{listen}", "{origin1}", "{origin2}"],
              yardstick=True),
    )}
