# SPDX-License-Identifier: MIT
"""What is in the images."""
import json
import pathlib
import re

import pytest

from kubelet import podman

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEGABYTE = 1000 * 1000
LARGEST = {"holdfast": 85 * MEGABYTE, "holdfast-minimal": 5 * MEGABYTE, "playground": 160 * MEGABYTE}


def inspect(image):
    return json.loads(podman("image", "inspect", image).stdout)[0]


@pytest.mark.parametrize("name", LARGEST)
def test_size(images, name):
    assert inspect(images[name])["Size"] < LARGEST[name]


@pytest.mark.parametrize("name", LARGEST)
def test_user_health_and_labels(images, name):
    image = inspect(images[name])
    assert re.fullmatch("[1-9][0-9]*:[1-9][0-9]*", image["Config"]["User"])
    assert image["Healthcheck"]["Test"][0] == "CMD"
    labels = image["Labels"]
    for key in ("title", "description", "licenses", "version", "revision", "created"):
        assert labels[f"org.opencontainers.image.{key}"] not in ("", "unknown"), key
    version = re.search(r"^project\(holdfast VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"),
                        re.MULTILINE)[1]
    assert labels["org.opencontainers.image.version"] == version


@pytest.mark.parametrize("name", LARGEST)
def test_nothing_by_chance_in_the_config(images, name):
    """The ids of build containers would make each build another image."""
    image = inspect(images[name])
    assert not image["Config"].get("Hostname")
    assert all("comment" not in step for step in image["History"])


@pytest.mark.parametrize("name", ["holdfast", "holdfast-minimal"])
def test_front_ends_start(images, name):
    version = inspect(images[name])["Labels"]["org.opencontainers.image.version"]
    done = podman("run", "--rm", "--pull=never", "--network=none", "--read-only", "--cap-drop=ALL", images[name],
                  "--version")
    assert version in done.stdout


def test_the_slim_image_has_no_compiler(images):
    done = podman("run", "--rm", "--pull=never", "--network=none", "--entrypoint=/bin/sh", images["holdfast"], "-c",
                  "command -v gcc cmake python3 perl-doc; ls /src /build", check=False)
    assert done.stdout == ""
