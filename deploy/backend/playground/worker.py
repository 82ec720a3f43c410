# SPDX-License-Identifier: MIT
"""The gunicorn worker: gthread, whose threads nobody can hold by doing nothing.

gthread gives each new connection a thread at once, and waits there for a request as long as it takes. So some dozens
of connections that say nothing would be the end of the service, its health check included. Here a connection waits
for its first byte where idle ones wait anyway; from that byte on the request must be whole in time, and each answer
be taken in time.
"""

import errno
import time
from functools import partial
from selectors import EVENT_READ

from gunicorn.workers.gthread import TConn, ThreadWorker

REQUEST_SECONDS = 3.0  # The front end has a request whole before it sends it.
ANSWER_SECONDS = 10.0


class Worker(ThreadWorker):
    def accept(self, server, listener):
        try:
            sock, client = listener.accept()
        except OSError as problem:
            if problem.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        self._make_room()
        conn = TConn(self.cfg, sock, client, server)
        conn.set_timeout()
        self.nr_conns += 1
        with self._lock:
            self._keep.append(conn)
            self.poller.register(conn.sock, EVENT_READ, partial(self.reuse_connection, conn))

    def _make_room(self):
        """If too many connections are idle, closes the one that has been idle for longest."""
        if len(self._keep) < self.max_keepalived:
            return
        with self._lock:
            oldest = self._keep.popleft()
            self.poller.unregister(oldest.sock)
        self.nr_conns -= 1
        oldest.close()

    def handle(self, conn):
        reader = Reader(conn.sock)
        conn.parser.unreader.sock = reader
        keepalive, conn = super().handle(conn)
        return keepalive and not reader.late, conn


class Reader:
    """A socket to read one request from. Who is too slow counts as gone."""

    def __init__(self, sock):
        self._sock = sock
        self._until = time.monotonic() + REQUEST_SECONDS
        self.late = False
        sock.settimeout(ANSWER_SECONDS)

    def recv(self, size):
        try:
            self._sock.settimeout(max(0.001, self._until - time.monotonic()))
            return self._sock.recv(size)
        except TimeoutError:
            self.late = True
            return b""
        finally:
            self._sock.settimeout(ANSWER_SECONDS)
