#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients come by IPv6, and a backend is reached by IPv6."""
import os
import socket
import sys

from harness import Holdfast, Origin, equal

try:
    origin = Origin(host="::1")
except OSError as error:
    print(f"this machine has no IPv6 loopback: {error}")
    sys.exit(77)

port = os.environ["FLOW_LISTEN"].rsplit(":", 1)[1]
with Holdfast({"gcp": origin}, listen=f"[::1]:{port}") as holdfast, holdfast.client() as client:
    equal("family of the client", client.sock.family, socket.AF_INET6)
    client.post("/six", b"by IPv6")
    response = client.response()
    equal("answer", (response.status, response.body), (200, b"by IPv6"))
    equal("X-Forwarded-For", origin.requests[0].field("x-forwarded-for"), "::1")
    equal("Host", origin.requests[0].field("host"), "flow.test")
    equal("url", holdfast.backend("gcp")["url"], f"http://[::1]:{origin.port}")
