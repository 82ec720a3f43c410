# SPDX-License-Identifier: MIT
"""Builds the images, once, and says why if that can't be done here."""
import ctypes
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/manifests"))

from kubelet import CONTAINERS_CONF, make_network, podman  # noqa: E402 (the path comes first)

CLONE_NEWNET = 0x40000000
BUILD_SECONDS = 400


@pytest.fixture(scope="session")
def images():
    """The built images: name -> reference."""
    if os.geteuid() != 0:
        pytest.skip("not root: images are built and pods are run as root here")
    for program in ("podman", "runc", "mmdebstrap", "ip"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed: images are not built, pods are not run")
    info = podman("info", check=False)
    if info.returncode != 0:
        pytest.skip(f"podman does not work here ({(info.stderr.strip().splitlines() or ['?'])[-1]})")
    tag = "tested"
    done = subprocess.run([ROOT / "deploy/images/build", "--engine", "podman", "--tag", tag, "--base", "made"],
                          check=False, capture_output=True, text=True, timeout=BUILD_SECONDS,
                          env={**os.environ, "CONTAINERS_CONF": CONTAINERS_CONF})
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return {name: f"localhost/{name}:{tag}" for name in ("holdfast", "holdfast-minimal", "playground")}


@pytest.fixture(scope="session")
def node(images):
    """From here on, this process is in a network namespace of its own, with a bridge for pods."""
    trial = podman("run", "--rm", "--pull=never", "--network=none", "--read-only", "--cap-drop=ALL", "--memory=64m",
                   "--pids-limit=32", "--entrypoint=/bin/true", images["holdfast"], check=False)
    if trial.returncode != 0:
        pytest.skip(f"podman can't run a container here: {trial.stderr.strip()[-300:]}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    make_network()
