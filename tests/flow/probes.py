#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Under load, a backend is ejected for its answers and comes back by its probes; another stops dead, is found
down by its probes, and is used again when it goes on. No client sees anything of it."""
import signal

from harness import Holdfast, Load, Origin, OriginProcess, answer, echo, equal

sound = True


def changeable(wire, request):
    """An echo that fails, on its health page as well, while it is not sound."""
    if not sound:
        answer(503)(wire, request)
    else:
        echo(wire, request)


def is_probe(request):
    return request.method == "GET" and request.target == "/healthz" and request.field("host") == gcp.authority


gcp = Origin(changeable)
with OriginProcess() as azure:
    config = {
        "health": {
            "eject_after": 3,
            "readmit": "probe",
            "probe": {"path": "/healthz", "interval_ms": 50, "timeout_ms": 1000, "rise": 3, "fall": 2},
        }
    }
    with Holdfast({"gcp": gcp, "azure": azure}, config=config) as holdfast:
        with Load(holdfast.address, 8) as load:

            def until_state(name, state):
                load.until(lambda: holdfast.backend(name)["state"] == state, f"{name} is {state}")

            load.until_more(50)
            equal("policy", holdfast.stats()["policy"]["readmit"], "probe")
            sound = False
            # By answers or by probes, whichever is first; if by probes, only those can say so.
            load.until(lambda: holdfast.backend("gcp")["state"] in ("ejected", "down"), "gcp is out")
            load.until_more(50)
            before = len(gcp.requests)
            load.until_more(50)
            load.until(lambda: any(map(is_probe, gcp.requests[before:])), "gcp is probed")
            # One that was begun before the ejection may have come in late; then there is but this.
            late = [request for request in gcp.requests[before:] if not is_probe(request)]
            equal("requests sent to a backend that is out", late, [])
            sound = True
            until_state("gcp", "up")
            equal("failures after the return", holdfast.backend("gcp")["failures"], 0)
            served = holdfast.backend("gcp")["status_200"]
            load.until(lambda: holdfast.backend("gcp")["status_200"] > served + 20, "gcp serves again")

            azure.process.send_signal(signal.SIGSTOP)
            until_state("azure", "down")
            load.until_more(200)
            azure.process.send_signal(signal.SIGCONT)
            until_state("azure", "up")
            served = holdfast.backend("azure")["status_200"]
            load.until(lambda: holdfast.backend("azure")["status_200"] > served + 20, "azure serves again")
        assert holdfast.logged("backend up: its probes are good"), "the return is not logged"
        assert holdfast.logged("backend down: its probes fail"), "the fall is not logged"
        equal("requests not answered 200", holdfast.stats()["requests"]["status_5xx"], 0)
