#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The key "user": started as root, holdfast reads what only root may read and binds its ports, and from then on no thread of it has
anything of root. It serves, spools long bodies and reloads as that user. A user that is not there is refused at start."""
import json
import os
import signal
import subprocess
import sys

import harness
from harness import Holdfast, Origin, equal, head, until

if os.geteuid() != 0:
    print("skipped: only root can become somebody else")
    sys.exit(77)

# A process that gave up root may not be traced by itself, which is how leaks are looked for.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
TOKEN = "a-secret-token"
LONG = b"long" * 500000  # over 1 MiB: a file
NOBODY = 65534


def threads(pid):
    """The lines of /proc/PID/task/*/status, as a dictionary for each thread."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
            yield {key: value.split() for key, _, value in (line.partition(":") for line in file)}


def stats(holdfast):
    with harness.Client(holdfast.admin_address) as client:
        client.send(head("GET", "/admin/stats", f"Authorization: Bearer {TOKEN}"))
        return client.response()


def check(path):
    return subprocess.run([os.environ["HOLDFAST"], "--config", path, "--check"], capture_output=True, text=True)


folder = os.environ["TMPDIR"]
token = os.path.join(folder, "token")
with open(token, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
    file.write(TOKEN + "\n")
os.chmod(folder, 0o1777)
os.setgroups([0, 4, 27])  # holdfast inherits them
backend = Origin()
config = {"user": "nobody", "admin": {"token_file": token}}
with Holdfast({"gcp": backend}, config=config) as holdfast:
    for thread in threads(holdfast.process.pid):
        equal("users", thread["Uid"], [str(NOBODY)] * 4)
        assert len(set(thread["Gid"])) == 1 and thread["Gid"][0] != "0", thread["Gid"]
        equal("further groups", thread["Groups"], [])
        for capabilities in ("CapPrm", "CapEff", "CapAmb"):
            equal(capabilities, int(thread[capabilities][0], 16), 0)
    equal("stats with the token", stats(holdfast).status, 200)
    with holdfast.client() as client:
        client.post("/", LONG)
        response = client.response()
        equal("answer to a long body", (response.status, response.body == LONG), (200, True))

    # What is read later is read as that user: the config file stands in a folder of root alone.
    holdfast.process.send_signal(signal.SIGHUP)
    until(lambda: holdfast.logged("config not reloaded"), "the file can't be read")
    os.chmod(holdfast.folder.name, 0o755)
    path = os.path.join(holdfast.folder.name, "config.json")
    with open(path, "w", encoding="ascii") as file:
        json.dump(config | {"user": None, "retry": {"attempts": 1}}, file)
    os.chmod(path, 0o644)
    holdfast.process.send_signal(signal.SIGHUP)
    until(lambda: holdfast.logged("config reloaded"), "the file can be read")
    assert "key=user" in holdfast.logged("needs a restart"), "a change of the user is not told"

bad = os.path.join(folder, "bad.json")
with open(bad, "w", encoding="ascii") as file:
    json.dump(config | {"user": "no-such-user", "backends": [{"url": "127.0.0.1:1"}]}, file)
checked = check(bad)
equal("exit status", checked.returncode, 2)
assert '"user" is "no-such-user", expected the name of a user of this system' in checked.stderr, checked.stderr
