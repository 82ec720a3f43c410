# SPDX-License-Identifier: MIT
"""What the clients and the origins of the fault matrix agree on.

A request names itself and the answer it wants in its target: /ID?bytes=N&framing=length|chunked. The answer
is a line with the ID, and the size and hash of the body as it reached the origin, and behind it N bytes that
depend on the ID. So the client knows every byte of the one right answer beforehand, and a body that was
changed, cut, swapped or invented on either way is noticed.
"""
import asyncio
import hashlib
import random
import zlib

LONGEST_BODY = 1 << 20
NOISE = random.Random(1).randbytes(2 * LONGEST_BODY)


class Malformed(Exception):
    """What came is no HTTP message."""


def filler(mark, size):
    """SIZE bytes that look like noise and differ with MARK."""
    start = zlib.crc32(mark) % LONGEST_BODY
    return NOISE[start:start + size]


def answer_body(identity, size, body):
    """The one right answer to the request IDENTITY, which carried BODY."""
    line = b"%s %d %s\n" % (identity, len(body), hashlib.sha256(body).hexdigest().encode())
    return line + filler(identity, size)


def chunked(body, pieces=3):
    """BODY in chunks."""
    step = len(body) // pieces + 1
    parts = [body[at:at + step] for at in range(0, len(body), step)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def framed(start, fields, body, as_chunks):
    """A whole message."""
    framing = b"Transfer-Encoding: chunked" if as_chunks else b"Content-Length: %d" % len(body)
    head = b"\r\n".join([start, *fields, framing, b"", b""])
    return head + (chunked(body) if as_chunks else body)


class Head:
    """The first line of a message and its fields, names in lower case."""

    def __init__(self, data):
        self.start, *lines = data[:-4].split(b"\r\n")
        self.fields = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise Malformed(f"not a field: {line!r}")
            self.fields[name.lower()] = value.strip()


async def read_head(reader):
    return Head(await reader.readuntil(b"\r\n\r\n"))


async def _read_chunks(reader):
    parts = []
    while True:
        line = await reader.readuntil(b"\r\n")
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise Malformed(f"not a chunk's size: {line!r}") from None
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return b"".join(parts)
        parts.append(await reader.readexactly(size))
        if await reader.readexactly(2) != b"\r\n":
            raise Malformed("a chunk is longer than its size")


async def read_body(reader, head, to_the_end=False):
    """The body of a message. TO_THE_END: without a length, all up to the end of the connection is body."""
    if b"chunked" in head.fields.get(b"transfer-encoding", b"").lower():
        return await _read_chunks(reader)
    length = head.fields.get(b"content-length")
    if length is None:
        return await reader.read() if to_the_end else b""
    return await reader.readexactly(int(length))


READ_ERRORS = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, Malformed, ValueError)
