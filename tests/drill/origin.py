# SPDX-License-Identifier: MIT
"""An origin of the fault matrix: a process of its own that answers well until it is told to be faulty.

usage: origin.py HOST PORT CONTROL LOG

CONTROL is the path of a Unix socket; each line that comes there names the mode from now on and is answered
with "ok". LOG gets a line "SECONDS ID got" for each request whose head came, and "SECONDS ID ran" for each
that came whole and so was executed. It is written without a buffer, so that kill -9 loses nothing; SECONDS
are those of the monotonic clock, the same in all processes of the machine.
"""
import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
import struct
import sys
import time
import urllib.parse

sys.dont_write_bytecode = True
import messages

PR_SET_PDEATHSIG = 1
LATENCY_SECONDS = 5
BYTE_SECONDS = 0.010
ERROR_SHARE = 0.3


class HangUp(Exception):
    """Raised by a mode: the connection ends here."""


class Answer:
    """The right answer to a request, for a mode to send or to spoil."""

    def __init__(self, writer, head, body):
        target = urllib.parse.urlsplit(head.start.split(b" ")[1].decode("latin-1"))
        wanted = urllib.parse.parse_qs(target.query)
        self.writer = writer
        self.body = messages.answer_body(target.path[1:].encode(), int(wanted.get("bytes", ["0"])[0]), body)
        self.as_chunks = wanted.get("framing") == ["chunked"]

    def message(self, status=b"200 OK", as_chunks=None):
        as_chunks = self.as_chunks if as_chunks is None else as_chunks
        return messages.framed(b"HTTP/1.1 " + status, [b"Content-Type: text/plain"], self.body, as_chunks)

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    def reset(self):
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise HangUp


async def sound(answer):
    await answer.send(answer.message())


async def reset_after_request(answer):
    answer.reset()


async def reset_in_head(answer):
    await answer.send(b"HTTP/1.1 200 OK\r\nContent-Type: te")
    answer.reset()


async def truncated_body(answer):
    whole = answer.message(as_chunks=False)
    await answer.send(whole[:-(len(answer.body) // 2)])
    raise HangUp


async def truncated_chunks(answer):
    whole = answer.message(as_chunks=True)
    await answer.send(whole[:-(len(answer.body) // 2)])
    raise HangUp


async def garbage(answer):
    await answer.send(b"\x16\x03\x01\x02\x00\x01 this is not HTTP\r\n\r\n")
    raise HangUp


async def late(answer):
    await asyncio.sleep(LATENCY_SECONDS)
    await sound(answer)


async def trickle(answer):
    """Its length is told: an answer of unknown length that comes so slowly is a stream, and streams flow."""
    for byte in answer.message(as_chunks=False):
        await answer.send(bytes([byte]))
        await asyncio.sleep(BYTE_SECONDS)


async def some_errors(answer):
    await answer.send(answer.message(b"500 Sometimes" if random.random() < ERROR_SHARE else b"200 OK"))


def status(line):
    async def behave(answer):
        await answer.send(answer.message(line))

    return behave


MODES = {
    "sound": sound,
    "reset-after-request": reset_after_request,
    "reset-in-head": reset_in_head,
    "truncated-body": truncated_body,
    "truncated-chunks": truncated_chunks,
    "garbage": garbage,
    "404": status(b"404 Not Found"),
    "500": status(b"500 Internal Server Error"),
    "503": status(b"503 Service Unavailable"),
    "latency-5s": late,
    "byte-per-10ms": trickle,
    "errors-30%": some_errors,
}
CLOSING = {"refuse", "accept-and-close", "stopping"}  # modes in which no further request is read


class Origin:
    """The listener, the open connections and the mode."""

    def __init__(self, log):
        self.mode = "sound"
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.open = set()
        self.idle = set()
        self.server = None

    def record(self, head, event):
        identity = head.start.split(b" ")[1].partition(b"?")[0][1:]
        if identity != b"healthz":  # what a proxy's own probes ask for is no client's request
            os.write(self.log, b"%.6f %s %s\n" % (time.monotonic(), identity, event))

    async def serve(self, reader, writer):
        self.open.add(writer)
        try:
            while self.mode not in CLOSING:
                self.idle.add(writer)
                head = await messages.read_head(reader)
                self.idle.discard(writer)
                self.record(head, b"got")
                body = await messages.read_body(reader, head)
                self.record(head, b"ran")
                await MODES.get(self.mode, sound)(Answer(writer, head, body))
        except (HangUp, *messages.READ_ERRORS):
            pass
        finally:
            self.open.discard(writer)
            self.idle.discard(writer)
            writer.close()

    def switch(self, mode):
        self.mode = mode
        if mode in ("refuse", "stopping"):
            self.server.close()
        if mode in CLOSING:
            for writer in list(self.idle if mode == "stopping" else self.open):
                writer.close()

    async def obey(self, reader, writer):
        async for line in reader:
            self.switch(line.decode().strip())
            writer.write(b"ok\n")
        writer.close()

    async def stop(self):
        """As a server does that is stopped in good order: nothing new, and what is in flight is finished."""
        self.switch("stopping")
        deadline = time.monotonic() + 1
        while self.open and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        os._exit(0)

    async def run(self, host, port, control):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(control)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: asyncio.ensure_future(self.stop()))
        limit = messages.LONGEST_BODY
        self.server = await asyncio.start_server(self.serve, host, port, backlog=1024, limit=limit)
        await asyncio.start_unix_server(self.obey, control)
        await asyncio.Event().wait()


def main():
    # A stopped process does not heed SIGTERM; so nothing less than SIGKILL when the drill itself is gone.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    host, port, control, log = sys.argv[1:]
    asyncio.run(Origin(log).run(host, int(port), control))


if __name__ == "__main__":
    main()
