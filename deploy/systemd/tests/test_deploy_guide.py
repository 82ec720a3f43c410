# SPDX-License-Identifier: MIT
"""The unit of a plain machine is sound, and docs/deploy.md names only what is there."""
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
UNIT = ROOT / "deploy" / "systemd" / "holdfast.service"
GUIDE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
WORST_EXPOSURE = 20  # tenths, of 100


def systemd_analyze(*arguments):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = ["systemd-analyze", *arguments, str(UNIT)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_unit_has_no_mistake():
    done = systemd_analyze("verify", "--man=no")
    # The program and its config are not installed on the machine of the tests; that alone may be said.
    complaints = [line for line in done.stderr.splitlines() if "is not executable: No such file" not in line]
    complaints = [line for line in complaints if UNIT.name in line]
    assert complaints == []


def test_the_unit_is_hardened():
    done = systemd_analyze("security", "--offline=true", f"--threshold={WORST_EXPOSURE}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_stops_no_sooner_than_the_program():
    stop_s = int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)[1])
    rows = re.findall(r"^\| `drain_(?:grace_)?ms` \|[^|]*\| `(\d+)` \|", (ROOT / "docs/configuration.md").read_text(),
                      re.MULTILINE)
    assert len(rows) == 2 and stop_s * 1000 > sum(map(int, rows))


def test_a_reload_checks_the_config_first():
    unit = UNIT.read_text()
    commands = re.findall(r"^ExecReload=(.*)$", unit, re.MULTILINE)
    started_with = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1].split()
    assert commands[0].split() == [started_with[0], "--check", *started_with[1:]]
    assert commands[1:] == ["/bin/kill -HUP $MAINPID"]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b(?:deploy|docs)/[\w./-]*\w", GUIDE))))
def test_every_path_in_the_guide_is_there(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", GUIDE))))
def test_every_link_in_the_guide_leads_somewhere(target):
    assert (ROOT / "docs" / target).exists()


def test_every_section_that_is_linked_is_there():
    heads = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^#+ (.*)$", GUIDE, re.M)}
    assert {anchor for anchor in re.findall(r"\]\(#([^)]+)\)", GUIDE)} <= heads


def test_our_commands_have_the_options_that_the_guide_uses():
    joined = GUIDE.replace("\\\n", " ")
    for path, rest in re.findall(r"^ +(deploy/(?:images/build|k8s/admin-token))\b([^\n]*)", joined, re.MULTILINE):
        text = (ROOT / path).read_text()
        for option in re.findall(r"--[a-z-]+", rest.split("#")[0]):
            assert option in text or (path.endswith("admin-token") and option == "--context"), (path, option)


@pytest.mark.parametrize(
    "file, text",
    [
        ("gcp/kustomization.yaml", "europe-west1-docker.pkg.dev/my-project"),
        ("gcp/kustomization.yaml", "- azure=http://"),
        ("azure/kustomization.yaml", "myregistry.azurecr.io"),
        ("azure/kustomization.yaml", "- gcp=http://"),
        ("gcp/kustomization.yaml", "newTag: "),
        ("azure/kustomization.yaml", "newTag: "),
    ],
)
def test_what_the_guide_replaces_is_there(file, text):
    assert text in GUIDE
    assert text in (ROOT / "deploy" / "k8s" / file).read_text()


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_the_autoscalers_of_the_guide_are_the_shipped_ones(cloud):
    yaml = pytest.importorskip("yaml")
    row = re.search(r"playground +Deployment/playground +cpu: \d+%/(\d+)% +(\d+) +(\d+)", GUIDE)
    documents = yaml.safe_load_all((ROOT / "deploy" / "k8s" / cloud / "autoscaling.yaml").read_text())
    spec = next(one["spec"] for one in documents if one["metadata"]["name"] == "playground")
    target = spec["metrics"][0]["resource"]["target"]["averageUtilization"]
    if cloud == "gcp":
        assert tuple(map(int, row.groups())) == (target, spec["minReplicas"], spec["maxReplicas"])
    assert 2 <= spec["minReplicas"] <= spec["maxReplicas"]
