# SPDX-License-Identifier: MIT
"""A cable with latency between two network namespaces: a TUN device at each end, and this process between.

It does what tc's netem does, on kernels that are built without netem too.

usage: python3 -m rehearsal.cable NAMESPACE DEVICE NAMESPACE DEVICE DELAY_MS
Prints "ready" when both devices are there. The delay is that of one direction.
"""
import collections
import fcntl
import os
import select
import struct
import sys
import time

from rehearsal import net

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PACKET_BYTES = 65536
BATCH = 64  # packets read before the other side is looked at


class Line:
    """One direction. What goes in comes out `delay_s` later, in order. At most `limit` packets are under way;
    what is more is lost, as in every queue."""

    def __init__(self, delay_s, limit=2000):
        self.delay_s = delay_s
        self.limit = limit
        self._under_way = collections.deque()

    def put(self, packet, now):
        if len(self._under_way) < self.limit:
            self._under_way.append((now + self.delay_s, packet))

    def take(self, now):
        """The packets that have arrived by `now`."""
        arrived = []
        while self._under_way and self._under_way[0][0] <= now:
            arrived.append(self._under_way.popleft()[1])
        return arrived

    def due(self):
        """When the next packet arrives; None when nothing is under way."""
        return self._under_way[0][0] if self._under_way else None


def make_end(path, device):
    """A new TUN device in the namespace at `path`; its descriptor."""
    net.enter(path)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def read_all(fd, line):
    try:
        for _ in range(BATCH):
            line.put(os.read(fd, PACKET_BYTES), time.monotonic())
    except OSError:
        pass  # nothing more, or the device is not up yet


def write_all(fd, packets):
    for packet in packets:
        try:
            os.write(fd, packet)
        except OSError:
            pass  # lost: the other end's queue is full, or it is not up


def main(near, near_device, far, far_device, delay_ms):
    ends = make_end(near, near_device), make_end(far, far_device)
    lines = [(ends[0], ends[1], Line(float(delay_ms) / 1000)), (ends[1], ends[0], Line(float(delay_ms) / 1000))]
    print("ready", flush=True)
    while True:
        dues = [line.due() for _, _, line in lines if line.due() is not None]
        wait_s = max(0, min(dues) - time.monotonic()) if dues else None
        readable, _, _ = select.select(ends, (), (), wait_s)
        for source, target, line in lines:
            if source in readable:
                read_all(source, line)
            write_all(target, line.take(time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
