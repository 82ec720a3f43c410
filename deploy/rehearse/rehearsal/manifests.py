# SPDX-License-Identifier: MIT
"""What the shipped manifests say of the backends: deploy/k8s is what is rehearsed."""
import pathlib
import re
import sys
from dataclasses import dataclass

import yaml

DEPLOY = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(DEPLOY / "sizing"))
import hpa  # noqa: E402 (found only now)


@dataclass(frozen=True)
class Pods:
    """The backend's pods, as its Deployment has them."""
    request_m: int  # thousandths of a core: what the autoscaler's target is a share of
    limit_m: int
    pre_stop_s: float
    grace_s: float


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def read_pods(deployment):
    """Pods from a Deployment as a dict."""
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    resources = container["resources"]
    stop = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [])
    seconds = re.search(r"\d+(\.\d+)?$", " ".join(stop))
    return Pods(
        hpa.milli(resources["requests"]["cpu"]),
        hpa.milli(resources["limits"]["cpu"]),
        float(seconds[0]) if seconds else 0.0,
        float(spec.get("terminationGracePeriodSeconds", 30)),
    )


def pods(k8s=DEPLOY / "k8s"):
    (deployment,) = documents(k8s / "base" / "playground" / "deployment.yaml")
    return read_pods(deployment)


def autoscaler(cloud, k8s=DEPLOY / "k8s"):
    """The hpa.Spec of the backend in `cloud`."""
    for document in documents(k8s / cloud / "autoscaling.yaml"):
        if document["kind"] == "HorizontalPodAutoscaler" and document["metadata"]["name"] == "playground":
            return hpa.Spec.from_manifest(document["spec"])
    raise ValueError(f"no HorizontalPodAutoscaler for playground in {cloud}")
