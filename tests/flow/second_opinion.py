#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""With "second-opinion", a status on which both backends agree is the request's fault: a client who sends bad requests ejects
nobody, though each of them fails on both. A backend that alone fails is ejected by its eleventh failure as ever, and one that
does not answer too. When statuses differ, or when nobody else was asked, both are charged; the last one that answers is not."""
import json
import threading

from harness import Holdfast, Origin, answer, close_unanswered, equal

AGREED = 40


def by_path(wire, request):
    """/404 is answered with 404, /500 with 500, and so on; /differ with what the backend calls its own."""
    answer(int(request.target[1:4]), b"as asked")(wire, request)


def differ(status):
    def behave(wire, request):
        (answer(status, b"my own") if request.target == "/differ" else by_path)(wire, request)

    return behave


def ask(holdfast, target, count, status, method="GET"):
    with holdfast.client() as client:
        for _ in range(count):
            if method == "POST":
                client.post(target, b"body")
                response = client.response()
            else:
                response = client.get(target)
            equal(f"answer to {target}", response.status, status)


def faults(holdfast):
    return json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)["requests"]["request_faults"]


def told(holdfast, name):
    backend = holdfast.evidence(name)
    return backend["state"], backend["failures"], backend["request_faults"]


def config(blame="second-opinion", **retry):
    return {
        "backends": [{"name": name, "url": f"http://{origin.authority}"} for name, origin in origins.items()],
        "health": {"blame": blame},
        "retry": retry,
    }


origins = {"gcp": Origin(differ(404)), "azure": Origin(differ(500))}

with Holdfast({}, config=config()) as holdfast:
    crowd = [threading.Thread(target=ask, args=(holdfast, "/404", AGREED, 404)) for _ in range(4)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    ask(holdfast, "/500", AGREED, 500, "POST")
    for name in origins:
        equal(name, told(holdfast, name), ("up", 0, 5 * AGREED))
        equal(f"evidence of {name}", holdfast.evidence(name)["evidence"]["failures"], [])
    equal("request faults", faults(holdfast), 5 * AGREED)

    ask(holdfast, "/differ", 10, 404)  # the best one seen
    for name in origins:
        equal(f"{name} after statuses that differ", told(holdfast, name), ("up", 10, 5 * AGREED))
    causes = [holdfast.evidence(name)["evidence"]["causes"] for name in origins]
    equal("causes", (causes[0]["4xx"]["count"], causes[1]["5xx"]["count"]), (10, 10))
    holdfast.reset()
    equal("faults after a reset", (faults(holdfast), told(holdfast, "gcp")), (0, ("up", 0, 0)))

    # One fails alone: its eleventh failure ejects it.
    origins["gcp"].behave = answer(503, b"broken")
    with holdfast.client() as client:
        while holdfast.backend("gcp")["failures"] < 10:
            equal("answer", client.get("/200").status, 200)
        equal("gcp after ten", told(holdfast, "gcp"), ("up", 10, 0))
        while holdfast.backend("gcp")["failures"] < 11:
            equal("answer", client.get("/200").status, 200)
        equal("gcp after eleven", told(holdfast, "gcp"), ("ejected", 11, 0))
        tripped = holdfast.evidence("gcp")["evidence"]["ejected_by"]
        equal("tripped by", (tripped["cause"], tripped["status"], tripped["attempt"]), ("5xx", 503, 1))
    # It gives its opinion all the same: azure is not charged for what both say.
    ask(holdfast, "/503", AGREED, 503)
    equal("azure", told(holdfast, "azure"), ("up", 0, AGREED))
    # Nor is it for what it alone answers, when the other one does not answer.
    origins["gcp"].behave = close_unanswered
    ask(holdfast, "/500", AGREED, 500)
    equal("azure, the last that answers", told(holdfast, "azure"), ("up", 0, 2 * AGREED))
    # But when the ejected one answers well, it is.
    origins["gcp"].behave = by_path
    origins["azure"].behave = answer(500, b"broken")
    ask(holdfast, "/200", 11, 200)
    equal("azure, proven wrong by the ejected one", told(holdfast, "azure"), ("ejected", 11, 2 * AGREED))

# No answer always counts, also of both at once.
for origin in origins.values():
    origin.behave = close_unanswered
with Holdfast({}, config=config()) as holdfast:
    ask(holdfast, "/200", 11, 502)
    for name in origins:
        equal(name, told(holdfast, name), ("ejected", 11, 0))

# A POST that may be sent once gets no second opinion; "every" is as ever.
for origin in origins.values():
    origin.behave = by_path
with Holdfast({}, config=config(methods="idempotent")) as holdfast:
    ask(holdfast, "/500", 22, 500, "POST")
    equal("both", [told(holdfast, name) for name in origins], [("ejected", 11, 0)] * 2)
with Holdfast({}, config=config("every")) as holdfast:
    ask(holdfast, "/404", 11, 404)
    equal("both", [told(holdfast, name) for name in origins], [("ejected", 11, 0)] * 2)
    equal("faults", faults(holdfast), 0)
