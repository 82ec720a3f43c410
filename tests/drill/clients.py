# SPDX-License-Identifier: MIT
"""The load of the fault matrix: keep-alive clients that know every byte of the right answer."""
import asyncio
import collections
import random
import re
import time

import messages

CLIENTS = 32
ANSWER_BYTES = messages.LONGEST_BODY  # behind its first line
PATIENCE_SECONDS = 30
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})( |$)")
HOST = b"Host: drill.test"


def some_size(rng, longest):
    """Mostly small, of every order of magnitude, and the two ends more often than chance would have it."""
    draw = rng.random()
    if draw < 0.1:
        return 0
    if draw > 0.98:
        return longest
    return int(longest ** rng.random())


class Request:
    """A request and its right answer, made up from a name and a random generator."""

    def __init__(self, identity, rng, answer_bytes):
        self.identity = identity
        size = some_size(rng, answer_bytes)
        framing = rng.choice(["length", "chunked"])
        target = b"/%s?bytes=%d&framing=%s" % (identity, size, framing.encode())
        if rng.random() < 0.4:
            self.message = b"GET %s HTTP/1.1\r\n%s\r\n\r\n" % (target, HOST)
            body = b""
        else:
            body = messages.filler(identity + b"?", some_size(rng, messages.LONGEST_BODY))
            self.message = messages.framed(b"POST %s HTTP/1.1" % target, [HOST], body, rng.random() < 0.5)
        self.answer = messages.answer_body(identity, size, body)


class Connection:
    """A client's connection, made anew when the last one ended."""

    def __init__(self, port):
        self.port = port
        self.reader = self.writer = None

    def close(self):
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None

    async def ask(self, request):
        """Sends the request. What became of it: "good", or what was wrong."""
        try:
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection(
                    "127.0.0.1", self.port, limit=messages.LONGEST_BODY)
            self.writer.write(request.message)
            head = await messages.read_head(self.reader)
        except OSError as error:
            return f"no answer: {type(error).__name__}"
        except messages.READ_ERRORS as error:
            partial = getattr(error, "partial", b"")
            return "cut in the head" if partial else f"no answer: {type(error).__name__}"
        return await self._judge(request, head)

    async def _judge(self, request, head):
        found = STATUS_LINE.match(head.start)
        if not found:
            return f"no HTTP: {head.start[:20]!r}"
        status = found.group(1).decode()
        try:
            body = await messages.read_body(self.reader, head, to_the_end=True)
        except (OSError, *messages.READ_ERRORS):
            return f"cut in the body of a {status}"
        if head.fields.get(b"connection", b"").lower() == b"close":
            self.close()
        if status != "200":
            return f"status {status}"
        return "good" if body == request.answer else "wrong body"


class Load:
    """All clients. Each sends its next request when the last one is answered."""

    def __init__(self, port, answer_bytes):
        self.port = port
        self.answer_bytes = answer_bytes
        self.ending = False
        self.taken_ms = []
        self.begun = {}  # when each request was begun, by id
        self.outcomes = collections.Counter()
        self.examples = {}  # of each outcome that is not good, the first request
        self.tasks = [asyncio.create_task(self._client(number)) for number in range(CLIENTS)]

    async def _client(self, number):
        rng = random.Random(number)
        connection = Connection(self.port)
        count = 0
        while not self.ending:
            request = Request(b"%d-%d" % (number, count), rng, self.answer_bytes)
            count += 1
            begun = time.monotonic()
            self.begun[request.identity.decode()] = begun
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    outcome = await connection.ask(request)
            except TimeoutError:
                outcome = f"no answer in {PATIENCE_SECONDS} s"
            self._note(request, outcome, begun)
            if outcome != "good":
                connection.close()
                await asyncio.sleep(0.01)  # a proxy that is gone must not make us spin
        connection.close()

    def _note(self, request, outcome, begun):
        self.taken_ms.append(1000 * (time.monotonic() - begun))
        self.outcomes[outcome] += 1
        if outcome != "good" and outcome not in self.examples:
            line = request.message.partition(b"\r\n")[0].decode()
            self.examples[outcome] = f"{line} ({len(request.message)} bytes), begun at {begun:.3f}"

    async def finish(self):
        self.ending = True
        await asyncio.gather(*self.tasks)

    def check(self):
        """A client that broke off is a mistake of the drill; it must not pass for silence."""
        for task in self.tasks:
            if task.done():
                task.result()
