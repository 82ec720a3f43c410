# SPDX-License-Identifier: MIT
"""Renders deploy/k8s and checks every document, in each of the ways that this machine has."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

import lint
from pods import environment, expand
from render import Unknown, _merge, render

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
K8S = ROOT / "deploy/k8s"
OVERLAYS = ("gcp", "azure", "literal")
HOLDFAST = os.environ.get("HOLDFAST", str(ROOT / "build-dev/holdfast"))


def by_name(documents):
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def front_end(documents):
    """The front end's container, and its pod."""
    pod = next(document["spec"]["template"]["spec"] for document in documents
               if document["kind"] == "Deployment" and document["metadata"]["name"] == "holdfast")
    return pod["containers"][0], pod


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_lint(overlay):
    assert lint.lint(render(K8S / overlay)) == []


def test_every_overlay_is_checked():
    assert {path.parent.name for path in K8S.glob("*/kustomization.yaml")} == {*OVERLAYS, "base"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_renders_the_same(overlay):
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl here: only our own renderer has read the kustomizations")
    version = json.loads(subprocess.run(["kubectl", "version", "--client", "--output=json"], check=True,
                                        capture_output=True).stdout)["clientVersion"]
    if int(re.match("[0-9]+", version["minor"])[0]) < 22:
        pytest.skip(f"kubectl is {version['gitVersion']}: its kustomize knows no folders in resources; 1.22 does")
    done = subprocess.run(["kubectl", "kustomize", K8S / overlay], check=False, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert by_name(yaml.safe_load_all(done.stdout)) == by_name(render(K8S / overlay))


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The folder with kubernetes-models, at the versions of the lock file."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("no npm here: kubernetes-models has not looked at the manifests")
    folder = tmp_path_factory.mktemp("models")
    for name in ("package.json", "package-lock.json", "validate.js"):
        shutil.copy(HERE / "npm" / name, folder)
    try:
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=False,
                              capture_output=True, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        pytest.skip("npm ci took more than 90 s: kubernetes-models has not looked at the manifests")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
        pytest.skip(f"npm ci failed ({last}): kubernetes-models has not looked at the manifests")
    return folder


def validate(models, documents):
    return subprocess.run(["node", "validate.js"], cwd=models, input=json.dumps(documents), check=False,
                          capture_output=True, text=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_models_agree(models, overlay):
    done = validate(models, render(K8S / overlay))
    assert done.returncode == 0, done.stdout + done.stderr


def test_kubernetes_models_can_refuse(models):
    documents = render(K8S / "gcp")
    by_name(documents)["HorizontalPodAutoscaler", "holdfast"]["spec"]["maxReplicas"] = "many"
    done = validate(models, documents)
    assert done.returncode == 1 and "maxReplicas" in done.stdout


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_holdfast_accepts_its_config(overlay, tmp_path):
    documents = render(K8S / overlay)
    found = by_name(documents)
    container, pod = front_end(documents)
    values = environment(container, lambda name: found["ConfigMap", name]["data"], {})
    config = tmp_path / "holdfast.json"
    config.write_text(json.dumps(lint.config_of(lint.Cluster(documents), pod, container)), encoding="utf-8")
    arguments = [expand(argument, values) for argument in container["args"]]
    assert arguments[0] == "--config=/etc/holdfast/holdfast.json"
    done = subprocess.run([HOLDFAST, f"--config={config}", *arguments[1:], "--check"], check=False,
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "config ok"), done.stderr


def test_the_literal_rule_is_the_default():
    """The literal overlay differs from GCP's in the front end's config alone, and sets no policy."""
    literal, gcp = by_name(render(K8S / "literal")), by_name(render(K8S / "gcp"))
    config = {name for kind, name in literal.keys() ^ gcp.keys() if kind == "ConfigMap"}
    assert len(config) == 2 and all(name.startswith("holdfast-") for name in config)
    assert literal.keys() - gcp.keys() == {("ConfigMap", name) for name in config & {n for _, n in literal}}
    with open(K8S / "literal/holdfast.json", encoding="utf-8") as file:
        assert not json.load(file).keys() & {"health", "retry", "balance", "timeouts"}


def test_clouds_differ_only_in_what_is_a_clouds_own():
    kinds = set()
    gcp, azure = by_name(render(K8S / "gcp")), by_name(render(K8S / "azure"))
    for key in gcp.keys() | azure.keys():
        if gcp.get(key) != azure.get(key):
            kinds.add(key[0])
    assert kinds <= {"ConfigMap", "Deployment", "Service", "HorizontalPodAutoscaler"}


def test_gunicorn_stops_in_the_time_that_the_lint_thinks():
    text = (ROOT / "deploy/backend/gunicorn.conf.py").read_text(encoding="utf-8")
    assert re.search(r"^graceful_timeout = ([0-9]+)", text, re.MULTILINE)[1] == str(lint.GUNICORN_SECONDS)


def test_images_run_as_the_users_of_the_manifests():
    found = by_name(render(K8S / "gcp"))
    for name in ("holdfast", "playground"):
        user = found["Deployment", name]["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
        recipe = (ROOT / f"deploy/images/{name}.Dockerfile").read_text(encoding="utf-8")
        assert set(re.findall(r"^USER (.*)$", recipe, re.MULTILINE)) == {f"{user}:{user}"}


def test_the_renderer_refuses_what_it_does_not_know(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("kind: Kustomization\nnamePrefix: x\n", encoding="utf-8")
    with pytest.raises(Unknown):
        render(tmp_path)
    with pytest.raises(Unknown):
        _merge({"tolerations": []}, {"tolerations": [{}]})


# What a kubectl is asked by admin-token. THERE: the namespace and the Secret that it has; TOKEN: what is in that.
FAKE_KUBECTL = """#!/bin/bash
echo "$*" >>"$SEEN/calls"
case "$*" in
*"get namespace"*) [[ $THERE != *namespace* ]] || echo namespace/holdfast ;;
*"get secret"*jsonpath*) printf %s "$TOKEN" ;;
*"get secret"*) [[ $THERE != *secret* ]] || echo secret/holdfast-admin ;;
*"create --filename=-"* | *"patch secret holdfast-admin --type=merge --patch-file=/dev/stdin") cat >"$SEEN/secret" ;;
esac
"""


@pytest.mark.parametrize("options, there, token, calls", [
    ([], "namespace secret", "", ["get secret", "get secret", "patch"]),
    ([], "namespace", "", ["get secret", "get secret", "get namespace", "create"]),
    ([], "", "", ["get secret", "get secret", "get namespace", "create", "create"]),
    ([], "namespace secret", "dG9rZW4=", ["get secret"]),
    (["--rotate"], "namespace secret", "dG9rZW4=", ["get secret", "patch", "rollout restart"]),
    (["--show"], "namespace secret", "dG9rZW4=", ["get secret"]),
])
def test_admin_token(tmp_path, options, there, token, calls):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(FAKE_KUBECTL, encoding="utf-8")
    kubectl.chmod(0o755)
    done = subprocess.run([K8S / "admin-token", *options, "--context=here"], check=False, capture_output=True, text=True,
                          env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SEEN": str(tmp_path), "THERE": there,
                               "TOKEN": token})
    assert done.returncode == 0, done.stderr
    seen = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert len(seen) == len(calls)
    for call, expected in zip(seen, calls):
        assert call.startswith(f"--namespace=holdfast --context=here {expected}")
    if calls[-1] == "get secret":
        assert not (tmp_path / "secret").exists()
        assert done.stdout == ("token\n" if options else "secret/holdfast-admin has a token already; --rotate makes a new one\n")
    else:
        made = json.loads((tmp_path / "secret").read_text(encoding="utf-8"))
        assert ("Secret", made["metadata"]["name"]) in by_name(render(K8S / "gcp")) and len(made["data"]["token"]) == 88


def test_no_token_is_not_shown(tmp_path):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(FAKE_KUBECTL, encoding="utf-8")
    kubectl.chmod(0o755)
    done = subprocess.run([K8S / "admin-token", "--show"], check=False, capture_output=True, text=True,
                          env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SEEN": str(tmp_path), "THERE": "secret", "TOKEN": ""})
    assert (done.returncode, done.stdout) == (1, "") and "has no token yet" in done.stderr


@pytest.mark.parametrize("options", [[], ["--rotate"], ["--show"]])
def test_a_kubectl_that_fails_ends_admin_token(tmp_path, options):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/bash\necho \"$*\" >>\"$SEEN/calls\"\necho no such cluster >&2\nexit 7\n", encoding="utf-8")
    kubectl.chmod(0o755)
    done = subprocess.run([K8S / "admin-token", *options], check=False, capture_output=True, text=True,
                          env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SEEN": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "no such cluster\n")
    assert len((tmp_path / "calls").read_text(encoding="utf-8").splitlines()) == 1  # Nothing is changed on a guess.
