#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A real WebSocket client talks through holdfast to a real server: hundreds of messages both ways, a large one, pings, and the
close handshake from either side; with one worker, and more connections than workers."""
import asyncio
import sys

from harness import Holdfast, equal, until

try:
    import websockets
except ImportError:
    print("python3-websockets is not installed")
    sys.exit(77)

MESSAGES = 200
CONNECTIONS = 20
LARGE = 1 << 20
CLOSE_CODE = 4321


class Backend:
    """What until() of the harness and Holdfast want of an origin."""

    def __init__(self, server):
        self.authority = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]


async def serve(socket, path):
    if path == "/closes":
        await socket.send("goodbye")
        await socket.close(CLOSE_CODE, "the server has had enough")
        return
    if path == "/talks":
        for number in range(MESSAGES):
            await socket.send(f"message {number}")
    try:
        async for message in socket:
            await socket.send(message)
    except websockets.ConnectionClosedError as closed:
        equal("code that the client gave", closed.rcvd.code, CLOSE_CODE)


def connect(holdfast, path):
    host, port = holdfast.address
    return websockets.connect(f"ws://{host}:{port}{path}", max_size=2 * LARGE)


async def echo(holdfast, number):
    async with connect(holdfast, "/echo") as client:
        for message in range(MESSAGES):
            await client.send(f"{number}: {message}")
            equal("echo", await client.recv(), f"{number}: {message}")


async def both_ways_at_once(holdfast):
    """Both sides send without waiting for each other."""
    async with connect(holdfast, "/talks") as client:
        for number in range(MESSAGES):
            await client.send(b"%d" % number * 100)
        got = [await client.recv() for _ in range(2 * MESSAGES)]
        said = [message for message in got if isinstance(message, str)]
        echoed = [message for message in got if isinstance(message, bytes)]
        equal("messages of the server", said, [f"message {number}" for number in range(MESSAGES)])
        equal("echoes", echoed, [b"%d" % number * 100 for number in range(MESSAGES)])


async def large_message(holdfast):
    message = bytes(range(256)) * (LARGE // 256)
    async with connect(holdfast, "/echo") as client:
        await client.send(message)
        equal("a large message came back", await client.recv() == message, True)
        await asyncio.wait_for(await client.ping(), 20)


async def closes(holdfast):
    client = await connect(holdfast, "/echo")
    await client.close(CLOSE_CODE, "the client has had enough")
    equal("code that the server answered", client.close_code, CLOSE_CODE)
    client = await connect(holdfast, "/closes")
    equal("last message", await client.recv(), "goodbye")
    await client.wait_closed()
    equal("how the server closed", (client.close_code, client.close_reason), (CLOSE_CODE, "the server has had enough"))


async def tell(backend_server):
    loop = asyncio.get_running_loop()
    backend = Backend(backend_server)
    holdfast = await loop.run_in_executor(None, lambda: Holdfast({"gcp": backend}, "--workers", "1"))
    try:
        await asyncio.gather(*[echo(holdfast, number) for number in range(CONNECTIONS)])
        await both_ways_at_once(holdfast)
        await large_message(holdfast)
        await closes(holdfast)
        await loop.run_in_executor(None, check, holdfast)
    except BaseException:
        holdfast.process.kill()
        raise
    await loop.run_in_executor(None, holdfast.terminate)


def check(holdfast):
    until(lambda: holdfast.stats()["connections"]["active"] == 0, "every tunnel has ended")
    stats = holdfast.stats()
    equal("requests", stats["requests"]["total"], CONNECTIONS + 4)
    equal("failures", stats["backends"][0]["failures"], 0)


async def main():
    async with websockets.serve(serve, "127.0.0.1", 0, max_size=2 * LARGE) as server:
        await asyncio.wait_for(tell(server), 40)


asyncio.run(main())
