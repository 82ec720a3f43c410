# SPDX-License-Identifier: MIT
"""The gunicorn worker: gthread, whose threads nobody can hold for long by doing nothing.

gthread gives each new connection a thread at once, and waits there for a request as long as it takes. So some dozens
of connections that say nothing would be the end of the service, its health check included. Here a connection waits
for its first byte where idle ones wait anyway; from that byte on the request must be whole in time, and each answer
be taken in time. This bounds the time, not the number: who sends a byte on each of many connections holds as many
threads, for 3 s at the most.
"""

import errno
import time
from functools import partial
from selectors import EVENT_READ

from gunicorn.workers.gthread import TConn, ThreadWorker

REQUEST_SECONDS = 3.0  # The front end has a request whole before it sends it.
ANSWER_SECONDS = 10.0
LAST_SECONDS = 0.2  # At the end: for requests that are on their way.
NOTHING_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Worker(ThreadWorker):
    _told_to_end = False

    def accept(self, server, listener):
        try:
            sock, client = listener.accept()
        except OSError as problem:
            if problem.errno in NOTHING_LEFT:
                # It stays in the listener's queue, so its turn comes again.
                if not self._close_oldest():
                    time.sleep(0.1)  # No idle connection waits for us meanwhile.
            elif problem.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        if len(self._keep) >= self.max_keepalived:
            self._close_oldest()
        conn = TConn(self.cfg, sock, client, server)
        conn.set_timeout()
        self.nr_conns += 1
        with self._lock:
            self._keep.append(conn)
            self.poller.register(conn.sock, EVENT_READ, partial(self.reuse_connection, conn))

    def _close_oldest(self):
        """Closes the connection that has been idle for longest. False if none is idle."""
        with self._lock:
            if not self._keep:
                return False
            oldest = self._keep.popleft()
            self.poller.unregister(oldest.sock)
        self.nr_conns -= 1
        oldest.close()
        return True

    def reuse_connection(self, conn, client):
        # One turn may tell of a new connection and of this one, which was closed to make room for that.
        with self._lock:
            closed = conn not in self._keep
        if not closed:
            super().reuse_connection(conn, client)

    def handle_exit(self, sig, frame):
        """SIGTERM: this turn is the last. The base class would not let us look once more at what it accepted."""
        self._told_to_end = True

    def murder_keepalived(self):
        """The last step of each turn."""
        super().murder_keepalived()
        if self._told_to_end:
            self.alive = False
            self._serve_the_last()

    def _serve_the_last(self):
        """Gives threads to requests that are there or come within a moment. run() then waits for the threads."""
        for listener in self.sockets:
            self.poller.unregister(listener)
            listener.close()
        until = time.monotonic() + LAST_SECONDS
        while self._keep and (left := until - time.monotonic()) > 0:
            for key, _ in self.poller.select(left):
                key.data(key.fileobj)

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
