#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Nobody reads holdfast's log, and its pipe is full: lines are lost, but everybody is answered, holdfast can be stopped, and when
somebody reads again there are lines again."""
import fcntl
import signal
import struct
import termios
import threading

from harness import WAIT_SECONDS, Holdfast, Origin, answer, equal, until
from raw import ask

BAD = b"GET / HTTP/1.1\r\nHost : a\r\nX: " + b"\x01" * 300 + b"\r\n\r\n"  # the log shows it, escaped
AT_THE_SAME_TIME = 16
FULL_BYTES = 32_768  # at least; what a full pipe holds depends on how the lines fit into its 16 pages


class Unread(Holdfast):
    """Its log is not read before READING is set."""

    def __init__(self, *arguments):
        self.reading = threading.Event()
        super().__init__(*arguments)

    def _read_log(self):
        self.reading.wait()
        super()._read_log()

    def unread_bytes(self):
        return struct.unpack("i", fcntl.ioctl(self.process.stderr, termios.FIONREAD, b"\0" * 4))[0]


def be_refused(holdfast, count, refused):
    for _ in range(count):
        assert ask(holdfast, BAD).startswith(b"HTTP/1.1 400 ")
        refused.release()


def many_are_refused(holdfast, each):
    """More than the pipe can hold, from many at the same time."""
    refused = threading.Semaphore(0)
    for _ in range(AT_THE_SAME_TIME):
        threading.Thread(target=be_refused, args=(holdfast, each, refused), daemon=True).start()
    for i in range(AT_THE_SAME_TIME * each):
        assert refused.acquire(timeout=WAIT_SECONDS), f"only {i} of the bad requests were answered"


def all_is_well(holdfast):
    with holdfast.client() as client:
        equal("answer", client.get().body, b"ok")
    equal("status of the stats", holdfast.admin("GET", "/admin/stats").status, 200)


def tell(then):
    with Unread({"gcp": Origin(answer(200, b"ok"))}, "--workers", str(AT_THE_SAME_TIME)) as holdfast:
        try:
            many_are_refused(holdfast, 20)
            assert holdfast.unread_bytes() > FULL_BYTES, f"only {holdfast.unread_bytes()} bytes are in the pipe"
            all_is_well(holdfast)
            then(holdfast)
        finally:
            holdfast.reading.set()


def is_stopped(holdfast):
    holdfast.process.send_signal(signal.SIGTERM)
    equal("exit status", holdfast.process.wait(timeout=WAIT_SECONDS), 0)


def is_read_again(holdfast):
    holdfast.reading.set()
    until(lambda: holdfast.unread_bytes() == 0, "the log is read")
    ask(holdfast, b"GET /news HTTP/1.1\r\nHost : a\r\n\r\n")
    until(lambda: holdfast.logged("/news"), "there are lines again")


tell(is_stopped)
tell(is_read_again)
