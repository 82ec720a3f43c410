#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The dashboard page comes whole and with its fields, and its policy names the style and the script that are in
it. With a token file it comes with 401: it asks for the token itself."""
import base64
import hashlib
import os
import re
import tempfile

from harness import Holdfast, Origin, equal

FIELDS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "set-cookie": None,
}


def only(page, tag):
    """What stands in the one element TAG of PAGE."""
    parts = re.findall(rb"<%b\b[^>]*>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
    equal(f"elements {tag}", len(parts), 1)
    return parts[0]


def check(response, status):
    equal("status", response.status, status)
    for name, value in FIELDS.items():
        equal(name, response.field(name), value)
    policy = dict(part.strip().split(" ", 1) for part in response.field("content-security-policy").split(";"))
    for directive in ("default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types"):
        equal(directive, policy.pop(directive), "'none'")
    for directive, tag in (("style-src", b"style"), ("script-src", b"script")):
        digest = base64.b64encode(hashlib.sha256(only(response.body, tag)).digest()).decode()
        equal(directive, policy.pop(directive), f"'sha256-{digest}'")
    equal("the rest of the policy", policy,
          {"connect-src": "'self'", "img-src": "data:", "require-trusted-types-for": "'script'"})


backends = {"gcp": Origin()}
with Holdfast(backends) as holdfast:
    page = holdfast.admin("GET", "/")
    check(page, 200)
    head = holdfast.admin("HEAD", "/")
    equal("the fields of HEAD", [field for field in head.fields if field[0] != "date"],
          [field for field in page.fields if field[0] != "date"])
    equal("the body of HEAD", head.body, b"")
    equal("Allow", holdfast.admin("DELETE", "/").field("allow"), "GET, HEAD")
    equal("fields of the page with the stats",
          holdfast.admin("GET", "/admin/stats").field("content-security-policy"), None)

with tempfile.NamedTemporaryFile("w", dir=os.environ["TMPDIR"]) as token:
    token.write("a-secret-token\n")
    token.flush()
    with Holdfast(backends, config={"admin": {"token_file": token.name}}) as holdfast:
        refused = holdfast.admin("GET", "/")
        check(refused, 401)
        equal("WWW-Authenticate", refused.field("www-authenticate"), 'Bearer realm="holdfast"')
        equal("the page without the token", refused.body, page.body)
        equal("the stats without the token", holdfast.admin("GET", "/admin/stats").status, 401)
