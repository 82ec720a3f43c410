# SPDX-License-Identifier: MIT
"""What the stories about bytes on the wire share: both sides of holdfast, to the byte.

Wire of harness.py reads messages; here everything that came is kept as it came, and nothing is sent but what the story writes.
"""
import json
import socket
import threading

from harness import WAIT_SECONDS, Broken, Closed, Message, Wire, equal

DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"  # with it in a response, holdfast adds none, and every byte is known


class Raw(Wire):
    """One end of a connection. RECEIVED is every byte that came."""

    def __init__(self, sock):
        super().__init__(sock)
        self.received = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def _fill(self):
        before = len(self.kept)
        more = super()._fill()
        self.received += self.kept[before:]
        return more

    def _exactly(self, length):
        """As in Wire, but in time proportional to LENGTH."""
        taken = bytearray()
        while len(taken) < length:
            if not self.kept and not self._fill():
                raise Broken(f"the connection ended {length - len(taken)} bytes before the end")
            taken += self._take(length - len(taken))
        return bytes(taken)

    def up_to(self, mark):
        """All bytes up to the end of MARK."""
        return self._line(mark)

    def exactly(self, length):
        return self._exactly(length)

    def head(self):
        """A message of which only the head is read."""
        return Message(self.up_to(b"\r\n\r\n"))

    def to_the_end(self):
        """All bytes that come until the connection ends, and whether it ended by a reset."""
        try:
            while self._fill():
                pass
        except (Closed, Broken):
            return self._take(len(self.kept)), True
        return self._take(len(self.kept)), False

    def end_of_sending(self):
        self.sock.shutdown(socket.SHUT_WR)


def connect(holdfast):
    """A connection to HOLDFAST."""
    return Raw(socket.create_connection(holdfast.address, timeout=WAIT_SECONDS))


def ask(holdfast, request):
    """Sends REQUEST, bytes, on a connection of its own. All bytes that come until holdfast closes it."""
    with connect(holdfast) as client:
        client.send(request)
        return client.rest()


class RawOrigin:
    """A server of which the story writes every byte: SCRIPT is called with each connection, as Raw, and to return closes it. It
    may be replaced at any time."""

    def __init__(self, script):
        self.script = script
        self.wires = []  # one for each connection
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.authority = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            sock, _ = self.listener.accept()
            wire = Raw(sock)
            self.wires.append(wire)
            threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire):
        with wire:
            try:
                self.script(wire)
            except (Closed, Broken, ConnectionError):
                pass

    def received(self):
        """Every byte that came, connection after connection."""
        return b"".join(bytes(wire.received) for wire in self.wires)


def respond(*responses, keep=True):
    """A script: reads one request for each of RESPONSES, bytes, and sends them; begins again (KEEP) or closes."""

    def script(wire):
        while True:
            for response in responses:
                wire.request()
                wire.send(response)
            if not keep:
                return

    return script


def refusal(response):
    """Judges a refusal, all bytes of it: a whole JSON answer that announces the end of the connection, and nothing behind it.
    Its status and the name of the offence."""
    head, mark, body = response.partition(b"\r\n\r\n")
    message = Message(head + mark)
    equal("type", message.field("content-type"), "application/json")
    equal("length", message.field("content-length"), str(len(body)))
    equal("connection", message.field("connection"), "close")
    said = json.loads(body)
    equal("keys", list(said), ["status", "error", "reason"])
    equal("status in the body", said["status"], message.status)
    assert said["reason"], "no reason is given"
    return message.status, said["error"]


def escaped(data):
    """DATA as the log shows it."""
    shown = []
    for byte in data:
        if byte in b'"\\':
            shown.append("\\" + chr(byte))
        else:
            shown.append(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}")
    return "".join(shown)


def fields(message):
    """The fields of MESSAGE, sorted, for a comparison with all that must be there."""
    return sorted(message.fields)
