#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The access log has one line for each answer, whoever gave it and however it ended, and one for each request whose client did not
wait for it. Nothing that a client sends makes another line of it."""
import os
import re
import socket
import struct
import subprocess
import tempfile
import threading

import harness
from access_lines import AccessLog, parse, read
from harness import WAIT_SECONDS, Client, Holdfast, Origin, answer, equal, head, until
from raw import Raw, connect

BODY = b"x" * 1000
BIG_BYTES = 8 << 20  # more than the kernel takes for a client that does not read
SOME_BYTES = 300_000  # of a response that is not held

asked, go_on = threading.Event(), threading.Event()


def serve(wire, request):
    path = request.target.split("?")[0]
    if path == "/hangs":
        asked.set()
        go_on.wait(WAIT_SECONDS)
        raise harness.HangUp
    if path == "/breaks":
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * SOME_BYTES) + b"x" * SOME_BYTES)
        raise harness.HangUp
    if path == "/chunks":
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 3 + b"0\r\n\r\n")
    elif path == "/upgrades":
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\nhi")
        raise harness.HangUp
    elif path == "/big":
        answer(200, b"x" * BIG_BYTES)(wire, request)
    elif request.method == "HEAD":
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    else:
        answer(int(path[1:]) if path[1:].isdigit() else 200, BODY)(wire, request)


def ask(*requests):
    """Sends REQUESTS, bytes, on one connection, and reads what comes. The client's own address."""
    with connect(holdfast) as client:
        client.send(b"".join(requests))
        client.end_of_sending()
        client.to_the_end()
        return client.sock.getsockname()


def good_answers():
    whole = {"version": "1.1", "status": 200, "backend": FIRST, "attempts": 1, "end": "whole"}
    lines = log.expect(
        "good answers", ask(head("GET", "/a?b=c", "X-Request-Id: my-own"), head("POST", "/b", "Content-Length: 0"),
                            head("HEAD", "/c"), head("GET", "/chunks"), b"GET /d HTTP/1.0\r\n\r\n"),
        whole | {"method": "GET", "target": "/a?b=c", "bytes": 1000, "request_id": "my-own"},
        whole | {"method": "POST", "target": "/b", "bytes": 1000},
        whole | {"method": "HEAD", "target": "/c", "bytes": 0},
        whole | {"target": "/chunks", "bytes": 15},
        whole | {"target": "/d", "bytes": 1000, "version": "1.0"},
    )
    equal("length of an id that was made", len(lines[1]["request_id"]), 32)


def attempts_that_failed():
    log.expect("all fail", ask(head("GET", "/404")), {"status": 404, "attempts": 2, "bytes": 1000, "end": "whole"})
    origins[SECOND].behave = harness.echo
    log.expect("one fails", ask(head("GET", "/500")), {"status": 200, "backend": SECOND, "attempts": 2, "bytes": 0})
    origins[FIRST].behave = origins[SECOND].behave = harness.close_unanswered
    line, = log.expect("nobody answers", ask(head("GET", "/gone")),
                       {"status": 502, "backend": "-", "attempts": 2, "end": "whole", "target": "/gone"})
    assert line["bytes"] > 0 and line["request_id"] != "-", line
    origins[FIRST].behave = origins[SECOND].behave = serve


def nobody_is_there():
    until(lambda: sum(holdfast.stats()["connections"][key] for key in ("active", "idle")) == 0, "all have left")


def answers_of_our_own():
    none = {"method": "-", "target": "-", "version": "-", "backend": "-", "attempts": 0, "request_id": "-"}
    log.expect("a bad field", ask(b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n"), none | {"status": 400, "end": "whole"})
    log.expect("too long a head", ask(head("GET", "/x", "X: " + "y" * 70000)), none | {"status": 431})
    log.expect("an expectation", ask(head("GET", "/x", "Expect: much")), {"status": 417, "method": "GET", "target": "/x"})
    log.expect("too long a body", ask(head("POST", "/long", "Content-Length: 99999999999999")),
               {"status": 413, "method": "POST", "target": "/long"})
    log.expect("half a request", ask(b"GET /half HT"), none | {"status": 400})
    log.expect("OPTIONS", ask(head("OPTIONS", "/o", "Max-Forwards: 0")),
               {"status": 200, "method": "OPTIONS", "target": "/o", "backend": "-", "bytes": 0})
    with connect(holdfast) as client:  # client_header_ms is short
        client.send(b"GET /slow HTTP/1.1\r\n")
        client.to_the_end()
        log.expect("a slow head", client.sock.getsockname(), none | {"status": 408})
    nobody_is_there()
    clients = [Client(holdfast.address) for _ in range(MOST)]
    for client in clients:
        equal("answer to one that is in", client.get("/").status, 200)
    log.expect("one connection too many", ask(b""), none | {"status": 429, "end": "whole"})
    for client in clients:
        client.sock.close()
    nobody_is_there()


def upgrade():
    address = ask(head("GET", "/upgrades", "Connection: Upgrade", "Upgrade: talk"))
    log.expect("an upgrade", address, {"status": 101, "backend": FIRST, "bytes": 0, "end": "upgraded"})


def stalled(target):
    """A client that has asked, and reads nothing yet."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.settimeout(WAIT_SECONDS)
    sock.connect(holdfast.address)
    client = Raw(sock)
    client.send(head("GET", target))
    return client


def reset(client):
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


def broken_answers():
    line, = log.expect("the backend breaks off", ask(head("GET", "/breaks")),
                       {"status": 200, "backend": FIRST, "attempts": 1, "end": "backend_broke"})
    assert 0 < line["bytes"] <= SOME_BYTES, line

    with stalled("/hangs") as client:
        assert asked.wait(WAIT_SECONDS)
        address = client.sock.getsockname()
        reset(client)
        log.expect("its client does not wait", address,
                   {"status": 0, "backend": "-", "attempts": 1, "bytes": 0, "end": "client_gone", "target": "/hangs"})
        go_on.set()

    with stalled("/big") as client:
        address = client.sock.getsockname()
        client.exactly(1000)
        until(lambda: holdfast.stats()["workers"]["busy"] == 0, "the rest waits in an outbox")
        equal("lines of an answer that is under way", log.of(address), [])
        reset(client)
        line, = log.expect("its client goes in the middle", address, {"status": 200, "end": "client_gone"})
        assert 0 < line["bytes"] < BIG_BYTES, line

    with stalled("/big") as client:  # client_write_ms is short
        line, = log.expect("its client does not read", client.sock.getsockname(),
                           {"status": 200, "end": "client_slow"})
        assert 0 < line["bytes"] < BIG_BYTES, line

    with stalled("/big") as client:
        address = client.sock.getsockname()
        client.head()
        client.exactly(BIG_BYTES)
        log.expect("its client is slow to begin", address, {"status": 200, "bytes": BIG_BYTES, "end": "whole"})


def hostile_targets():
    """In logfmt, where it is easier to forge a line."""
    targets = ['/a"status=200', "/a\\", '/a\\"', "/a=b", "/%0a%0dtime=1", '/","status":"', "/" + "y" * 5000, "/'" + '"' * 3000]
    holdfast.reload(config | {"log_format": "logfmt"})
    before = len(read(log.path))
    answered = 0
    with connect(holdfast) as client:
        for target in targets:
            client.send(head("GET", target))
            answered += client.response().status == 200
    equal("answers", answered, len(targets))
    until(lambda: len(read(log.path)) >= before + len(targets), "all have their line")
    lines = read(log.path)[before:]
    equal("number of lines", len(lines), len(targets))
    for line, target in zip(lines, targets):
        assert len(line) < 4096, f"{len(line)} bytes"
        fields = parse(line)
        equal("status", fields["status"], "200")
        shown = re.sub(r"\\(.)", r"\1", fields["target"][1:-1]) if fields["target"][0] == '"' else fields["target"]
        equal("target", shown, target if len(target) < 2000 else shown)
        assert shown == target or (shown.endswith("...") and target.startswith(shown[:-3])), shown
    holdfast.reload(config)


def reload():
    """The log is moved, switched off, and on again; a file that can't be opened changes nothing."""
    other = AccessLog(os.path.join(folder, "other"))
    holdfast.reload(config | {"access_log": other.path})
    other.expect("in the new file", ask(head("GET", "/new")), {"target": "/new"})
    holdfast.reload(config | {"access_log": os.path.join(folder, "no", "folder")}, "config not reloaded")
    assert holdfast.logged("access_log " + os.path.join(folder, "no")), "the key is not named"
    other.expect("the old file still", ask(head("GET", "/still")), {"target": "/still"})
    holdfast.reload(config | {"access_log": "off"})
    address = ask(head("GET", "/off"))
    holdfast.process.send_signal(harness.signal.SIGUSR1)
    until(lambda: holdfast.logged("there is no log file to reopen"), "SIGUSR1 is refused")
    holdfast.reload(config)
    log.expect("on again", ask(head("GET", "/on")), {"target": "/on"})
    equal("while it was off", log.of(address) + other.of(address), [])


def expect_sums():
    """One line for each answer that was counted, while it was on: all but the one of reload()."""
    counted = holdfast.stats()["requests"]["total"]
    unanswered = [line for line in read(log.path) if '"status":0' in line]
    equal("lines without an answer", len(unanswered), 1)
    lines = len(read(log.path)) + len(read(os.path.join(folder, "other")))
    equal("lines", lines, counted + len(unanswered) - 1)
    shown = harness.json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)["access_log"]
    equal("lines in the stats", shown, {"lines": lines, "dropped": 0})


def start_fails(path, text):
    name = os.path.join(folder, "bad.json")
    with open(name, "w", encoding="ascii") as file:
        harness.json.dump({"access_log": path}, file)
    ended = subprocess.run([os.environ["HOLDFAST"], "-l", os.environ["FLOW_LISTEN"], "-a", "off", "-c", name, "-b", "127.0.0.1:1"],
                           capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    equal("status and error", (ended.returncode, ended.stderr), (1, f"holdfast: access_log {path}: {text}\n"))


def standard_output():
    """"-": a file that standard output was directed to gets the lines behind what it has."""
    wrapper, out = os.path.join(folder, "wrapper"), os.path.join(folder, "out")
    with open(wrapper, "w", encoding="ascii") as file:
        file.write(f'#!/bin/sh\nexec "{os.environ["HOLDFAST"]}" "$@" >>{out}\n')
    os.chmod(wrapper, 0o755)
    with open(out, "w", encoding="ascii") as file:
        file.write("what was there\n")
    os.environ["HOLDFAST"] = wrapper
    with Holdfast(origins, config={"access_log": "-"}) as other, other.client() as client:
        client.get("/seen")
        client.get("/at-the-end")
    lines = read(out)
    equal("first line", lines[0], "what was there")
    equal("targets", [parse(line)["target"] for line in lines[1:]], ["/seen", "/at-the-end"])


MOST = 24
folder = tempfile.mkdtemp()
log = AccessLog(os.path.join(folder, "log"))
config = {
    "access_log": log.path, "log_format": "json", "workers": 8, "balance": "hash",
    "drain_ms": 500, "timeouts": {"client_header_ms": 1000, "client_write_ms": 2000},
    "limits": {"connections_per_client": MOST, "body_bytes_per_second": 500_000},
    "health": {"eject_after": 1000}, "retry": {"hold_bytes": 65536},
}
origins = {"gcp": Origin(serve), "azure": Origin(serve)}
start_fails(os.path.join(folder, "no", "log"), "No such file or directory; its folder must be there")
with Holdfast(origins, config=config) as holdfast:
    FIRST = log.expect("which one is asked first", ask(head("GET", "/")), {})[0]["backend"]
    SECOND = next(name for name in origins if name != FIRST)
    for story in (good_answers, attempts_that_failed, answers_of_our_own, upgrade, broken_answers, hostile_targets, reload,
                  expect_sums):
        story()
    late = stalled("/big")
    address = late.sock.getsockname()
    late.exactly(1000)
    until(lambda: holdfast.stats()["workers"]["busy"] == 0, "the rest waits in an outbox")
log.expect("a stop cuts it", address, {"status": 200, "end": "stopped"})
late.sock.close()
standard_output()
