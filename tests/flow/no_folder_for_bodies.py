#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A body needs a file, and there is no folder for it: 503 that says so, with Retry-After. Requests that need none go on, no backend
is blamed, and when the folder is there all is well by itself."""
import os
import stat

from harness import Holdfast, Origin, equal

LONG = b"x" * (2 << 20)  # over 1 MiB: it goes to a file

folder = os.path.join(os.environ["TMPDIR"], "not-yet")
wrapper = os.path.join(os.environ["TMPDIR"], "elsewhere")
with open(wrapper, "w", encoding="utf-8") as file:
    file.write(f'#!/bin/sh\nTMPDIR="{folder}" exec "{os.environ["HOLDFAST"]}" "$@"\n')
os.chmod(wrapper, stat.S_IRWXU)
os.environ["HOLDFAST"] = wrapper


def post(body):
    with holdfast.client() as client:
        client.post("/", body)
        return client.response()


with Holdfast({"gcp": Origin()}) as holdfast:
    refused = post(LONG)
    equal("answer to a long body", (refused.status, refused.field("retry-after")), (503, "1"))
    assert b'"no_storage"' in refused.body, refused.body
    equal("answer to a short body", post(b"short").body, b"short")
    os.mkdir(folder)
    assert post(LONG).body == LONG, "the body is another one"
    backend = holdfast.backend("gcp")
    equal("attempts and failures", (backend["attempts"], backend["failures"]), (2, 0))
