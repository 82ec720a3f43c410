# SPDX-License-Identifier: MIT
"""What the stories in Python share: a scripted origin, a running holdfast, a raw client, and a load of many
clients.

Nothing here sleeps in place of a condition: until() asks again until it is so. Every wait has an end, so that
a story fails rather than hangs. Origins listen where the system puts them, holdfast at the addresses that
run-story keeps free for the story, so that stories may run side by side.
"""
import json
import os
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

WAIT_SECONDS = 20  # the longest wait for anything; a good one takes milliseconds
LOAD_SECONDS = float(os.environ.get("FLOW_SECONDS", "4"))


def equal(what, got, want):
    assert got == want, f"{what}: got {got!r}, expected {want!r}"


def until(so, what):
    """Waits until so() is true."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not so():
        assert time.monotonic() < deadline, f"not so within {WAIT_SECONDS} seconds: {what}"
        time.sleep(0.01)


def many_descriptors():
    """Lets this process, and what it starts, open as many files as the system allows. How many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


# --------------------------------------------------------------------------------------------------- messages


class Closed(Exception):
    """The connection ended, or was reset, where a message could have begun."""


class Broken(Exception):
    """The connection ended, or was reset, in the middle of a message, or what came is no message."""


class Message:
    """A request or a response, as it came: start is the first line, head all bytes up to the body."""

    def __init__(self, head, body=b""):
        self.head = head
        self.body = body
        self.start, *lines = head[:-4].decode("latin-1").split("\r\n")
        self.fields = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise Broken(f"not a field: {line!r}")
            self.fields.append((name.lower(), value.strip()))

    def field(self, name):
        """The value of the only field of that name, or None."""
        values = [value for key, value in self.fields if key == name]
        assert len(values) < 2, f"{name} is there more than once: {self.head!r}"
        return values[0] if values else None

    @property
    def method(self):
        return self.start.split(" ")[0]

    @property
    def target(self):
        return self.start.split(" ")[1]

    @property
    def status(self):
        version, status, _ = self.start.split(" ", 2)
        if version != "HTTP/1.1" or len(status) != 3:
            raise Broken(f"not a status line: {self.start!r}")
        return int(status)


class Wire:
    """Reads messages from a socket, and keeps what came behind them for the next."""

    def __init__(self, sock):
        self.sock = sock
        self.kept = b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        self.sock.sendall(data)

    def _fill(self):
        """Reads once more. False at the end of the connection."""
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionError as error:
            raise Broken(f"{error} behind {self.kept[-200:]!r}") from None
        self.kept += data
        return data != b""

    def _take(self, length):
        taken, self.kept = self.kept[:length], self.kept[length:]
        return taken

    def _line(self, end):
        """All bytes up to the end of END."""
        while end not in self.kept:
            if not self._fill():
                raise Broken(f"the connection ended behind {self.kept[-200:]!r}")
        return self._take(self.kept.index(end) + len(end))

    def _exactly(self, length):
        while len(self.kept) < length:
            if not self._fill():
                raise Broken(f"the connection ended {length - len(self.kept)} bytes before the end")
        return self._take(length)

    def rest(self):
        """All bytes up to the end of the connection."""
        while self._fill():
            pass
        return self._take(len(self.kept))

    def _chunked(self):
        body = b""
        while True:
            length = int(self._line(b"\r\n"), 16)
            body += self._exactly(length)
            if self._exactly(2) != b"\r\n":
                raise Broken("a chunk is longer than its size")
            if length == 0:
                return body

    def _head(self):
        try:
            begun = self.kept or self._fill()
        except Broken as error:
            raise Closed(error) from None
        if not begun:
            raise Closed
        return Message(self._line(b"\r\n\r\n"))

    def request(self, at_head=None):
        message = self._head()
        if at_head is not None:
            at_head(self, message)
        if message.field("transfer-encoding") is not None:
            message.body = self._chunked()
        else:
            message.body = self._exactly(int(message.field("content-length") or 0))
        return message

    def response(self, method="GET"):
        message = self._head()
        length = message.field("content-length")
        if method == "HEAD" or message.status < 200 or message.status in (204, 304):
            return message
        if message.field("transfer-encoding") is not None:
            message.body = self._chunked()
        elif length is not None:
            message.body = self._exactly(int(length))
        else:
            message.body = self.rest()
        return message


# ---------------------------------------------------------------------------------------------------- origins


class HangUp(Exception):
    """Raised by a behaviour: the origin closes the connection."""


def answer(status=200, body=b""):
    """A behaviour: always the same response."""

    def behave(wire, _):
        wire.send(b"HTTP/1.1 %d Scripted\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    return behave


def echo(wire, request):
    answer(200, request.body)(wire, request)


def close_unanswered(*_):
    raise HangUp


def reset(wire, _):
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise HangUp


def last_words(text):
    """A behaviour: sends TEXT, whatever that is, and closes."""

    def behave(wire, _):
        wire.send(text)
        raise HangUp

    return behave


truncated_length = last_words(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly half of i")
truncated_chunked = last_words(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwor")
garbage = last_words(b"\x16\x03\x01\x02\x00\x01 this is not HTTP\r\n\r\n")


class Origin:
    """A server on a port of its own. BEHAVE answers each request; AT_HEAD, if there is one, sees it before
    its body is read. Both may be replaced at any time."""

    def __init__(self, behave=echo, at_head=None, host="127.0.0.1", port=0):
        self.behave = behave
        self.at_head = at_head
        self.requests = []  # every request that came whole
        self.connections = 0
        self.open = set()  # the connections that have not ended
        self.listener = self.listen(host, port)
        self.port = self.listener.getsockname()[1]
        self.authority = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def listen(self, host, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)

    def _accept(self):
        while True:
            sock, _ = self.listener.accept()
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock:
            self.open.add(sock)
            wire = Wire(sock)
            try:
                while True:
                    request = wire.request(self.at_head)
                    self.requests.append(request)
                    self.behave(wire, request)
            except (HangUp, Closed, Broken, OSError):
                pass
            finally:
                self.open.discard(sock)


class OriginProcess:
    """An echoing origin in a process of its own, so that it can be killed."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "origin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.authority = f"127.0.0.1:{int(self.process.stdout.readline())}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()

    def kill(self):
        self.process.kill()
        self.process.wait()


# --------------------------------------------------------------------------------------------------- holdfast


class Client:
    """One connection of a client."""

    def __init__(self, address):
        self.sock = socket.create_connection(address, timeout=WAIT_SECONDS)
        self.wire = Wire(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.wire.send(data)

    def post(self, target, body, *fields):
        """Sends a POST with its whole BODY, and further FIELDS as lines of text."""
        self.send(head("POST", target, f"Content-Length: {len(body)}", *fields) + body)

    def response(self, method="GET"):
        return self.wire.response(method)

    def get(self, target="/"):
        self.send(head("GET", target))
        return self.response()

    def expect_end(self):
        """Waits for the end of the connection; nothing may come before it, and it must be no reset."""
        equal("what came before the end of the connection", self.wire.rest(), b"")


def as_pair(address):
    """An address as sockets want it."""
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def head(method, target, *fields):
    """The head of a request, as bytes."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: flow.test", *fields, "", ""]).encode()


def expect_zero(stats):
    """All counts of all backends and of all requests in STATS are zero, and all backends are up."""
    equal("requests", set(stats["requests"].values()), {0})
    for backend in stats["backends"]:
        counts = {key: value for key, value in backend.items() if key not in ("name", "url")}
        equal("state", counts.pop("state"), "up")
        equal("ejected_at", counts.pop("ejected_at"), None)
        numbers = [*counts.pop("errors").values(), *counts.pop("latency_ms").values(), *counts.values()]
        equal("counts", set(numbers), {0})


class Overlay:
    """Something that is laid over the C library that holdfast uses: tests/flow/overlay_*.c. Made before holdfast starts, and told
    by a file, whose path is in the environment as VARIABLE."""

    def __init__(self, variable):
        self.variable = variable
        self.path = os.path.join(tempfile.mkdtemp(), "told")

    def environment(self):
        library = os.path.join(os.path.dirname(os.environ["HOLDFAST"]), "tests", "libflow_overlay.so")
        return {
            "LD_PRELOAD": library,
            self.variable: self.path,
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0",
        }


class Names(Overlay):
    """Host names for holdfast, made up: it resolves those that end in ".test" by what is set here, whenever it
    likes. A name that was never set, or is set to no address, does not resolve."""

    def __init__(self):
        super().__init__("FLOW_NAMES")
        self.addresses = {}
        self.set()

    def set(self, **addresses):
        """Sets NAME.test for each NAME=[ADDRESS, ...], all at once."""
        self.addresses.update(addresses)
        with open(self.path + ".new", "w", encoding="ascii") as file:
            for name, known in self.addresses.items():
                file.write(" ".join([name + ".test", *known]) + "\n")
        os.rename(self.path + ".new", self.path)


class Starvation(Overlay):
    """While it is entered, holdfast gets no descriptor for a new connection to a backend."""

    def __init__(self):
        super().__init__("FLOW_STARVE")

    def __enter__(self):
        with open(self.path, "x", encoding="ascii"):
            return self

    def __exit__(self, *_):
        os.unlink(self.path)


class FewThreads(Overlay):
    """Holdfast gets no more than 64 threads: at the 65th its start hangs until fail()."""

    def __init__(self):
        super().__init__("FLOW_THREADS")

    def fail(self):
        """Now that one can't be started."""
        with open(self.path, "x", encoding="ascii"):
            pass


class Named:
    """A backend that is known by a name of Names, and a port."""

    def __init__(self, name, port):
        self.authority = f"{name}.test:{port}"


class Holdfast:
    """The program under test, in front of BACKENDS (name to origin). It must end cleanly with the story."""

    def __init__(self, backends, *options, config=None, listen=os.environ.get("FLOW_LISTEN"), overlay=None,
                 admin=os.environ.get("FLOW_ADMIN")):
        self.address = as_pair(listen)
        self.admin_address = as_pair(admin)
        self.folder = tempfile.TemporaryDirectory()
        arguments = [os.environ["HOLDFAST"], "--listen", listen, "--admin", admin, *options]
        for name, origin in backends.items():
            arguments += ["--backend", f"{name}=http://{origin.authority}"]
        if config is not None:
            path = os.path.join(self.folder.name, "config.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(config, file)
            arguments += ["--config", path]
        self.log = []
        environment = os.environ | (overlay.environment() if overlay is not None else {})
        self.process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, errors="replace",
                                        env=environment)
        self.log_reader = threading.Thread(target=self._read_log, daemon=True)
        self.log_reader.start()
        until(self._is_ready, "holdfast is ready")

    def _is_ready(self):
        assert self.process.poll() is None, f"holdfast ended at start with {self.process.returncode}"
        try:
            return self.admin("GET", "/admin/readyz").status == 200
        except ConnectionError:
            return False

    def _read_log(self):
        for line in self.process.stderr:
            sys.stderr.write(line)
            self.log.append(line)

    def logged(self, text):
        """The first line of the log that has TEXT in it, or None."""
        return next((line for line in list(self.log) if text in line), None)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.terminate()
        elif self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def terminate(self):
        """Asks holdfast to stop; it must do so with 0, and no sanitizer may have said anything."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        equal("holdfast's exit status", self.process.wait(timeout=WAIT_SECONDS), 0)
        self.log_reader.join()
        self.process.stderr.close()
        reports = [line for line in self.log if "Sanitizer" in line or "runtime error" in line]
        equal("reports of sanitizers", reports, [])

    def client(self):
        return Client(self.address)

    def thread_names(self):
        """The names of holdfast's threads, one for each."""
        names = []
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            try:
                with open(f"/proc/{self.process.pid}/task/{thread}/comm", encoding="ascii") as file:
                    names.append(file.read().strip())
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended meanwhile
        return names

    def admin(self, method, target):
        with Client(self.admin_address) as client:
            client.send(head(method, target, "Connection: close").replace(b"flow.test", b"localhost", 1))
            return client.response(method)

    def stats(self):
        response = self.admin("GET", "/admin/stats")
        equal("the status of the stats", response.status, 200)
        return json.loads(response.body)

    def reload(self, config, expected="config reloaded"):
        """Puts CONFIG, JSON's text or what becomes it, in the place of the config that holdfast was started
        with, and waits until the log says what came of it."""
        path = os.path.join(self.folder.name, "config.json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(config if isinstance(config, str) else json.dumps(config))
        os.rename(path + ".new", path)
        before = len(self.log)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: any(expected in line for line in self.log[before:]), expected)

    def backend(self, name):
        """The statistics of one backend."""
        return next(backend for backend in self.stats()["backends"] if backend["name"] == name)

    def evidence(self, name):
        """The same with the evidence, and where the backend is."""
        stats = json.loads(self.admin("GET", "/admin/stats?evidence=1").body)
        return next(backend for backend in stats["backends"] if backend["name"] == name)

    def reset(self):
        """Resets everything. The statistics after it."""
        response = self.admin("POST", "/admin/reset")
        equal("the status of a reset", response.status, 200)
        return json.loads(response.body)


# ------------------------------------------------------------------------------------------------------- load


class Load:
    """CLIENTS keep-alive clients that post without pause to echoing origins. Every body is different; a
    response that is not 200 with that very body is a failure, and so is a connection that ends."""

    def __init__(self, address, clients):
        self.address = address
        self.answered = [0] * clients
        self.failures = []
        self.ending = False
        self.begun = time.monotonic()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        try:
            with Client(self.address) as client:
                while not self.ending:
                    self._ask(client, b"client %d, request %d, " % (number, self.answered[number]))
                    self.answered[number] += 1
        except Exception as error:  # whatever it is, it is a failure that the client saw
            self.failures.append(f"client {number}, request {self.answered[number]}: {error!r}")

    def _ask(self, client, mark):
        body = mark * (1 + len(mark) * self.answered[0] % 50)
        client.post("/echo", body)
        response = client.response()
        equal("answer", (response.status, response.body), (200, body))

    @staticmethod
    def mark(request):
        """Which client sent a request that an origin got, and which of its requests that is, from 0."""
        client, number = re.match(rb"client (\d+), request (\d+), ", request.body).groups()
        return int(client), int(number)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.ending = True
        for thread in self.threads:
            thread.join(WAIT_SECONDS)
        if kind is None:
            self.check()

    def check(self):
        assert not self.failures, f"clients saw {len(self.failures)} failures: {self.failures[:5]}"

    def total(self):
        return sum(self.answered)

    def until(self, so, what):
        """Waits, with the load on, until so(); a failure that a client sees ends the wait."""
        until(lambda: self.failures or so(), what)
        self.check()

    def until_more(self, count):
        """Waits until COUNT more requests have been answered."""
        goal = self.total() + count
        self.until(lambda: self.total() >= goal, f"{count} more answers")

    def until_over(self):
        """Waits until the load has lasted as long as it shall."""
        over = self.begun + LOAD_SECONDS
        self.until(lambda: time.monotonic() >= over, "the load is over")


def main():
    """An echoing origin that prints its port and lives until its standard input ends."""
    print(Origin().port, flush=True)
    select.select([sys.stdin], [], [])


if __name__ == "__main__":
    main()
