# SPDX-License-Identifier: MIT
"""Breaks good manifests, one fault at a time, and sees each one named by the checks."""
import copy
import json
import pathlib

import pytest

from lint import lint
from render import render

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOOD = render(ROOT / "deploy/k8s/gcp")
GONE = object()


def documents(kind, name=None):
    """A finder of documents, and where to go within them."""
    def find(all_documents):
        return [document for document in all_documents
                if document["kind"] == kind and (name is None or document["metadata"]["name"].startswith(name))]
    return find


POD = ("spec", "template", "spec")
BOX = (*POD, "containers", 0)
BACKEND, FRONT = documents("Deployment", "playground"), documents("Deployment", "holdfast")
SCALER, SERVICE = documents("HorizontalPodAutoscaler", "playground"), documents("Service", "playground")
BUDGET, POLICY = documents("PodDisruptionBudget", "playground"), documents("NetworkPolicy", "playground")
FRONT_POLICY, CONFIG = documents("NetworkPolicy", "holdfast"), documents("ConfigMap", "holdfast")

# (whom, the path in it, what is put there, what the check must say).
SHAPES = [
    (BACKEND, ("apiVersion",), "extensions/v1beta1", "expected one of 'apps/v1'"),
    (BACKEND, ("kind",), "Deploiment", "the kind 'Deploiment' is unknown"),
    (BACKEND, ("metadata", "name"), "Play_ground", "an RFC 1123 name"),
    (BACKEND, ("metadata", "labels", "a b"), "c", "a label's key"),
    (BACKEND, ("spec", "selector"), GONE, "the field selector is missing"),
    (BACKEND, ("spec", "replica"), 2, "the field replica is unknown"),
    (BACKEND, ("spec", "template", "spec", "containers"), [], "at least 1"),
    (BACKEND, (*BOX, "image"), "Playground:1", "an image"),
    (BACKEND, (*BOX, "image"), GONE, "the field image is missing"),
    (BACKEND, (*BOX, "imagePullPolicy"), "Sometimes", "expected one of"),
    (BACKEND, (*BOX, "resources", "limits", "memory"), "64MB", "a quantity"),
    (BACKEND, (*BOX, "resources", "limits", "memory"), "half", "a quantity"),
    (BACKEND, (*BOX, "resources", "limits", "cpu"), 1, "in quotes"),
    (BACKEND, (*BOX, "resources", "limits", "ram"), "1Gi", "expected one of 'cpu'"),
    (BACKEND, (*BOX, "ports", 0, "containerPort"), 99999, "from 1 to 65535"),
    (BACKEND, (*BOX, "ports", 0, "containerPort"), "8000", "a whole number"),
    (BACKEND, (*BOX, "ports", 0, "protocol"), "HTTP", "expected one of 'TCP'"),
    (BACKEND, (*BOX, "ports", 0, "name"), "a-name-that-is-too-long", "a port's name"),
    (BACKEND, (*BOX, "readinessProbe", "tcpSocket"), {"port": 8000}, "exactly one of httpGet"),
    (BACKEND, (*BOX, "env", 0, "value"), "x", "exactly one of value"),
    (BACKEND, (*BOX, "env", 0, "name"), "A-B", "a variable's name"),
    (BACKEND, (*BOX, "securityContext", "readOnlyRootFilesystem"), "yes", "expected one of True"),
    (BACKEND, (*BOX, "volumeMounts", 0, "mountPath"), "tmp", "expected text"),
    (BACKEND, (*POD, "securityContext", "runAsUser"), 0, "from 1"),
    (BACKEND, (*POD, "securityContext", "seccompProfile", "type"), "Unconfined", "RuntimeDefault"),
    (BACKEND, (*POD, "volumes", 0, "hostPath"), {"path": "/"}, "hostPath is unknown"),
    (BACKEND, (*POD, "hostNetwork"), True, "hostNetwork is unknown"),
    (documents("Secret"), ("data",), {"token": "c2VjcmV0"}, "data is unknown"),
    (FRONT, (*POD, "volumes", 1, "secret", "items"), GONE, "the field items is missing"),
    (BACKEND, ("spec", "strategy", "type"), "Rolling", "'RollingUpdate'"),
    (BACKEND, ("spec", "strategy", "rollingUpdate", "maxSurge"), "25", "a percentage"),
    (SCALER, ("apiVersion",), "autoscaling/v2beta2", "'autoscaling/v2'"),
    (SCALER, ("minReplicas",), 2, "minReplicas is unknown"),
    (SCALER, ("spec", "maxReplicas"), GONE, "maxReplicas is missing"),
    (SCALER, ("spec", "targetCPUUtilizationPercentage"), 60, "is unknown"),
    (SCALER, ("spec", "metrics", 0, "resource", "name"), "gpu", "'cpu'"),
    (SCALER, ("spec", "metrics", 0, "resource", "target", "averageUtilization"), "60%", "a whole number"),
    (SCALER, ("spec", "behavior", "scaleUp", "selectPolicy"), "Most", "'Max'"),
    (SCALER, ("spec", "behavior", "scaleUp", "policies", 0, "periodSeconds"), 3600, "to 1800"),
    (SERVICE, ("spec", "type"), "Loadbalancer", "'LoadBalancer'"),
    (SERVICE, ("spec", "ports", 0, "port"), 0, "from 1"),
    (SERVICE, ("spec", "ports"), [], "at least 1"),
    (BUDGET, ("spec", "minAvailable"), 1, "exactly one of minAvailable"),
    (POLICY, ("spec", "policyTypes", 0), "In", "'Ingress'"),
    (FRONT_POLICY, ("spec", "egress", 2, "to", 0, "ipBlock", "cidr"), "everywhere", "an IPv4 CIDR"),
    (CONFIG, ("data", "holdfast.json"), 1, "expected text"),
]

RULES = [
    (BACKEND, ("metadata", "namespace"), "other", "is not in the namespace holdfast"),
    (documents("Namespace"), ("metadata", "labels", "pod-security.kubernetes.io/enforce"), "baseline",
     "enforce is not restricted"),
    (BACKEND, ("metadata", "name"), "holdfast", "there are two of this name"),
    (BACKEND, ("spec", "selector", "matchLabels", "app.kubernetes.io/name"), "playgrounds", "its own pods"),
    (BACKEND, ("spec", "template", "metadata", "labels", "app.kubernetes.io/name"), "other", "its own pods"),
    (BACKEND, ("spec", "selector", "matchLabels"), {"app.kubernetes.io/part-of": "holdfast"}, "another Deployment"),
    (BACKEND, (*POD, "topologySpreadConstraints", 0, "labelSelector", "matchLabels"), {"app": "x"}, "count its own"),
    (BACKEND, (*POD, "topologySpreadConstraints", 1), GONE, "not spread over zones and nodes"),
    (SCALER, ("spec", "scaleTargetRef", "name"), "nobody", "there is no Deployment nobody"),
    (SCALER, ("spec", "minReplicas"), 50, "minReplicas <= maxReplicas"),
    (SCALER, ("spec", "minReplicas"), 1, "expected 2 <="),
    (SCALER, ("spec", "behavior"), GONE, "behavior does not say"),
    (SCALER, ("spec", "metrics", 0, "resource", "target", "type"), "AverageValue", "do not fit"),
    (BACKEND, ("spec", "replicas"), 2, "replicas beside an autoscaler"),
    (BACKEND, (*BOX, "resources", "requests", "cpu"), GONE, "requests no cpu"),
    (SERVICE, ("spec", "ports", 0, "targetPort"), "web", "targetPort web"),
    (SERVICE, ("spec", "ports", 0, "targetPort"), GONE, "targetPort 80"),
    (SERVICE, ("spec", "ports", 0, "port"), 8080, "no LoadBalancer has port 80"),
    (SERVICE, ("spec", "selector", "app.kubernetes.io/name"), "nobody", "the pods of 0 Deployments"),
    (SERVICE, ("spec", "selector"), {"app.kubernetes.io/part-of": "holdfast"}, "the pods of 2 Deployments"),
    (BUDGET, ("spec", "selector", "matchLabels", "app.kubernetes.io/name"), "nobody", "the pods of 0 Deployments"),
    (BUDGET, ("spec", "maxUnavailable"), 0, "could not be drained"),
    (BUDGET, ("spec",), {"minAvailable": 10, "selector": {"matchLabels": {"app.kubernetes.io/name": "playground"}}},
     "minAvailable is all"),
    (POLICY, ("spec", "podSelector", "matchLabels", "app.kubernetes.io/name"), "nobody", "the pods of 0 Deployments"),
    (POLICY, ("spec", "ingress", 0, "ports", 0, "port"), "https", "none of the pods'"),
    (POLICY, ("spec", "policyTypes"), ["Egress"], "policyTypes does not name it"),
    (FRONT_POLICY, ("spec", "egress", 1, "to", 0, "podSelector", "matchLabels", "app.kubernetes.io/name"), "x",
     "pods that there are not"),
    (documents("NetworkPolicy", "deny-all"), ("spec", "policyTypes"), ["Ingress"], "none denies all"),
    (BACKEND, (*POD, "serviceAccountName"), "nobody", "no ServiceAccount nobody"),
    (BACKEND, (*POD, "automountServiceAccountToken"), True, "mounts a token"),
    (documents("ServiceAccount", "playground"), ("automountServiceAccountToken",), GONE, "mounts its token"),
    (BACKEND, (*POD, "securityContext", "runAsNonRoot"), False, "without runAsNonRoot"),
    (BACKEND, (*POD, "securityContext", "seccompProfile"), GONE, "without seccompProfile"),
    (BACKEND, (*BOX, "securityContext", "allowPrivilegeEscalation"), GONE, "allowPrivilegeEscalation"),
    (BACKEND, (*BOX, "securityContext", "readOnlyRootFilesystem"), False, "readOnlyRootFilesystem"),
    (BACKEND, (*BOX, "securityContext", "capabilities", "drop"), ["NET_RAW"], "ALL capabilities"),
    (BACKEND, (*BOX, "securityContext", "capabilities", "add"), ["SYS_ADMIN"], "ALL capabilities"),
    (BACKEND, (*BOX, "resources", "limits", "memory"), GONE, "no limit for memory"),
    (BACKEND, (*BOX, "resources", "requests", "memory"), "2Gi", "requests more memory"),
    (BACKEND, (*POD, "volumes", 0, "emptyDir", "sizeLimit"), GONE, "has no sizeLimit"),
    (BACKEND, (*POD, "volumes", 0, "emptyDir", "sizeLimit"), "4Gi", "larger than the limit of memory"),
    (BACKEND, (*BOX, "startupProbe"), GONE, "has no startupProbe"),
    (BACKEND, (*BOX, "readinessProbe", "httpGet", "port"), "admin", "a port that it has not"),
    (BACKEND, (*BOX, "livenessProbe", "periodSeconds"), 1, "before it is taken out"),
    (BACKEND, (*BOX, "volumeMounts", 0, "name"), "temp", "which there is not"),
    (FRONT, (*BOX, "volumeMounts", 2), GONE, "is mounted nowhere"),
    (FRONT, (*POD, "volumes", 0, "configMap", "name"), "holdfast", "no ConfigMap holdfast"),
    (FRONT, (*POD, "volumes", 1, "secret", "secretName"), "token", "no Secret token"),
    (FRONT, (*POD, "volumes", 1, "secret", "items", 0, "path"), "word", "in no Secret"),
    (FRONT, (*BOX, "args", 1), "--backend=gcp=$(GCPS)", "$(GCPS), which is not set"),
    (BACKEND, (*BOX, "env", 2, "value"), "$(CLOUDS)", "not set before it"),
    (BACKEND, (*BOX, "env", 0, "valueFrom", "configMapKeyRef", "key"), "nick", "which there is not"),
    (BACKEND, (*BOX, "image"), "playground:1", "names no registry"),
    (BACKEND, (*BOX, "image"), "a.example/playground:latest", "latest"),
    (BACKEND, ("spec", "strategy", "rollingUpdate", "maxUnavailable"), 1, "before a new one serves"),
    (FRONT, ("spec", "strategy", "rollingUpdate", "maxSurge"), 0, "before a new one serves"),
    (BACKEND, (*BOX, "lifecycle"), GONE, "stops 0 s after it is asked to"),
    (BACKEND, (*POD, "terminationGracePeriodSeconds"), 20, "terminationGracePeriodSeconds"),
    (FRONT, (*POD, "terminationGracePeriodSeconds"), 40, "terminationGracePeriodSeconds"),
    (CONFIG, ("data", "holdfast.json"), '{"drain_ms": 3600000}', "terminationGracePeriodSeconds"),
    (CONFIG, ("data", "holdfast.json"), '{"listen": ":80"}', "no port of the pod"),
    (CONFIG, ("data", "holdfast.json"), '{"listen": ":8080", "admin": {"listen": ":8081"}}', "in no Secret"),
]


def broken(whom, path, value):
    """The good documents with one thing changed."""
    copies = copy.deepcopy(GOOD)
    found = whom(copies)
    assert len(found) == 1
    node = found[0]
    for key in path[:-1]:
        node = node[key]
    if value is GONE:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    assert json.dumps(copies) != json.dumps(GOOD)
    return copies


def names(cases):
    return [f"{'.'.join(map(str, path))}-{wrong}" for _, path, _, wrong in cases]


def test_the_good_ones_are_good():
    assert lint(GOOD) == []


@pytest.mark.parametrize("whom, path, value, wrong", SHAPES, ids=names(SHAPES))
def test_shape(whom, path, value, wrong):
    found = lint(broken(whom, path, value))
    assert any(wrong in what for _, what in found), found


@pytest.mark.parametrize("whom, path, value, wrong", RULES, ids=names(RULES))
def test_rule(whom, path, value, wrong):
    found = lint(broken(whom, path, value))
    assert any(wrong in what for _, what in found), found


@pytest.mark.parametrize("kind", ["PodDisruptionBudget", "HorizontalPodAutoscaler", "Service", "NetworkPolicy",
                                  "Namespace", "ServiceAccount", "ConfigMap", "Secret"])
def test_a_kind_that_is_not_there_is_missed(kind):
    assert lint([document for document in GOOD if document["kind"] != kind])


@pytest.mark.parametrize("nothing", [None, [], "text", {}, {"kind": "Deployment"}, {"kind": "Service", "metadata": 1}])
def test_what_is_no_document(nothing):
    assert lint([nothing])
