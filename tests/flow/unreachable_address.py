#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend has an address that can't be reached from here (IPv6 is switched off, the backend is [::1]): that is the backend's
failure and no want of our own; the next backend is asked, and the unreachable one is ejected."""
import errno
import os
import socket
import subprocess
import sys

from harness import Holdfast, Origin, answer, equal, until

COMMANDS = "ip link set lo up && sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1"
HERE = "FLOW_IN_A_NETWORK_OF_ITS_OWN"
REQUESTS = 40


class Unreachable:
    authority = "[::1]:80"


def enter_a_network_of_our_own():
    """Runs this story again where nobody else is, and IPv6 is switched off; it needs the right to make such a place."""
    enter = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c"]
    if os.geteuid() == 0:
        enter = ["unshare", "--net", "sh", "-c"]
    tried = subprocess.run([*enter, COMMANDS], stderr=subprocess.PIPE, text=True, check=False)
    if tried.returncode != 0:
        print(f"no network of our own without IPv6 can be made here: {tried.stderr.strip()}")
        sys.exit(77)
    os.environ[HERE] = "1"
    os.execvp("unshare", [*enter, COMMANDS + ' && exec "$0" "$@"', sys.executable, __file__])


def check_premise():
    with socket.socket(socket.AF_INET6) as sock:
        error = sock.connect_ex(("::1", 80))
    if error != errno.EADDRNOTAVAIL:
        print(f"the address fails otherwise here: {os.strerror(error)}")
        sys.exit(77)


if HERE not in os.environ:
    enter_a_network_of_our_own()
check_premise()
with Holdfast({"six": Unreachable(), "gcp": Origin(answer(200, b"ok"))}) as holdfast:
    with holdfast.client() as client:
        for i in range(REQUESTS):
            equal(f"answer {i}", client.get().status, 200)
    until(lambda: holdfast.backend("six")["state"] == "ejected", "it is ejected")
    equal("failures of the other", holdfast.backend("gcp")["failures"], 0)
