#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""1000 clients before a holdfast that may open 256 files. It neither dies nor spins: who gets in is answered, with 503 where a file
for its body can't be had, the others wait; no backend is blamed. When the load ends, a new client is served within a second."""
import asyncio
import contextlib
import os
import threading
import time

from few_files import limit_files
from harness import LOAD_SECONDS, Holdfast, Message, Origin, equal, head, many_descriptors, until

FILES = 256
CLIENTS = 1000
RECOVERY_SECONDS = 1.0
SANITIZED = 10  # times slower it may be when every access to memory is watched, beside other tests
CPU_AT_REST = 0.3  # of one CPU; a thread that spins takes all of it
BODY = b"x" * (1200 << 10)  # over 1 MiB: it goes to a file


def is_sanitized(program):
    with open(program, "rb") as file:
        text = file.read()
    return b"__asan_init" in text or b"__tsan_init" in text


def cpu_seconds():
    """The CPU time that holdfast has taken."""
    with open(f"/proc/{holdfast.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def expect_rest():
    """Nothing is asked of holdfast: after a moment it takes next to no CPU time."""

    def rests():
        before, begun = cpu_seconds(), time.monotonic()
        time.sleep(0.5)  # the time is the subject
        return (cpu_seconds() - before) / (time.monotonic() - begun) < CPU_AT_REST

    until(rests, "holdfast rests")


def expect_recovery(ended):
    """Nobody is there any more since ENDED: a new client is served at once."""
    with holdfast.client() as client:
        equal("answer afterwards", client.get().status, 200)
    took = time.monotonic() - ended
    print(f"recovery took {took:.2f} s")
    assert took < recovery_seconds
    until(lambda: holdfast.stats()["connections"]["active"] == 0, "all have left")
    equal("well", [(b["state"], b["failures"]) for b in holdfast.stats()["backends"]], [("up", 0)] * len(origins))


def send_all_but_the_end(client):
    with contextlib.suppress(OSError):  # it may be refused in the middle, or wait for ever
        client.send(head("POST", "/", f"Content-Length: {len(BODY) + 1}"))
        client.send(BODY)


class Crowd:
    """CLIENTS clients, each of which comes, asks once, and goes, again and again; one in ten has a long body. They all vanish
    at the end, wherever they are. One thread plays all of them: a thousand would wait for each other more than for holdfast."""

    def __init__(self):
        self.statuses, self.faults = [], []
        self.loop = asyncio.new_event_loop()
        self.everybody = self.loop.create_task(self._everybody())
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self.everybody)

    async def _everybody(self):
        await asyncio.gather(*(self._client(number) for number in range(CLIENTS)))

    async def _client(self, number):
        request = head("POST", "/body", f"Content-Length: {len(BODY)}") + BODY if number % 10 == 0 else head("GET", "/")
        try:
            while True:
                self.statuses.append(await self._ask(request))
        except Exception as error:  # whatever it is, the client saw it
            self.faults.append(f"client {number}: {error!r}")

    async def _ask(self, request):
        reader, writer = await asyncio.open_connection(*holdfast.address)
        try:
            writer.write(request)
            message = Message(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(int(message.field("content-length")))
            return message.status
        finally:
            writer.close()

    def vanish(self):
        self.loop.call_soon_threadsafe(self.everybody.cancel)
        self.thread.join()
        self.loop.close()


recovery_seconds = RECOVERY_SECONDS * (SANITIZED if is_sanitized(os.environ["HOLDFAST"]) else 1)
limit_files(FILES)
many_descriptors()
threading.stack_size(256 << 10)
origins = {name: Origin() for name in ("gcp", "azure")}
with Holdfast(origins, "--workers", "32", config={"log_level": "warn"}) as holdfast:
    # Many come and ask nothing: some get in, the others wait at the door.
    clients = [holdfast.client() for _ in range(CLIENTS)]
    until(lambda: holdfast.stats()["connections"]["accepted"] >= FILES / 2, "as many got in as may")
    expect_rest()
    assert holdfast.stats()["connections"]["idle"] < FILES, "more got in than there are files"
    for client in clients:
        client.sock.close()
    expect_recovery(time.monotonic())

    # Many come, ask, and go, for a while.
    crowd = Crowd()
    over = time.monotonic() + LOAD_SECONDS
    until(lambda: crowd.faults or time.monotonic() > over, "the load is over")
    crowd.vanish()
    expect_recovery(time.monotonic())
    equal("faults that clients saw", crowd.faults[:5], [])
    kinds = {status: crowd.statuses.count(status) for status in set(crowd.statuses)}
    assert set(kinds) <= {200, 503} and kinds[200] > CLIENTS / 2, kinds
    print(f"answers: {kinds}")

    # The files are used up by bodies that never end: accept must wait, and others are told 503. The admin endpoint answers.
    refused_before = holdfast.stats()["requests"]["status_5xx"]
    with contextlib.ExitStack() as stack:
        for _ in range(FILES):
            client = stack.enter_context(holdfast.client())
            threading.Thread(target=send_all_but_the_end, args=(client,), daemon=True).start()
        until(lambda: holdfast.stats()["requests"]["status_5xx"] > refused_before, "some are refused for want of a file")
        expect_rest()
    expect_recovery(time.monotonic())
    expect_rest()
