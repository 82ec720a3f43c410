# SPDX-License-Identifier: MIT
"""The shape of the documents in deploy/k8s: each field that they may have, and what stands in it.

It is the part of the Kubernetes API (1.26 to 1.33) that our manifests use, written down by hand from its
reference. A field that is not here is an error, be it a slip of the pen or new to us: then it is added here.
A shape is a function of a value that yields (path, what is wrong).
"""
import re

QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", re.ASCII)
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
IMAGE = re.compile(r"[a-z0-9]+([._:/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64})")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def text(pattern=None, longest=1 << 20, what="text"):
    def check(value):
        if not isinstance(value, str):
            yield "", f"{value!r}: expected {what}, in quotes where YAML sees another type"
        elif (pattern and not pattern.fullmatch(value)) or len(value) > longest:
            yield "", f"{value!r}: expected {what}"
    return check


def number(least, most):
    def check(value):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            yield "", f"{value!r}: expected a whole number from {least} to {most}"
    return check


def one_of(*values):
    def check(value):
        if value not in values or isinstance(value, bool) != isinstance(values[0], bool):
            yield "", f"{value!r}: expected one of {', '.join(map(repr, values))}"
    return check


def either(what, *shapes):
    def check(value):
        if all(list(shape(value)) for shape in shapes):
            yield "", f"{value!r}: expected {what}"
    return check


def many(shape, least=0):
    def check(value):
        if not isinstance(value, list):
            yield "", "expected a list"
            return
        if len(value) < least:
            yield "", f"expected at least {least}"
        for place, item in enumerate(value):
            for path, wrong in shape(item):
                yield f"[{place}]{path}", wrong
    return check


def table(key_shape, value_shape):
    def check(value):
        if not isinstance(value, dict):
            yield "", "expected an object"
            return
        for key, item in value.items():
            for _, wrong in key_shape(key):
                yield "", f"the key {wrong}"
            for path, wrong in value_shape(item):
                yield f".{key}{path}", wrong
    return check


def record(must="", exactly_one=(), **fields):
    """An object with these fields alone. must: those that it can't be without; exactly_one: of these, one."""
    def check(value):
        if not isinstance(value, dict):
            yield "", "expected an object"
            return
        for key in set(value) - set(fields):
            yield "", f"the field {key} is unknown"
        for key in must.split():
            if key not in value:
                yield "", f"the field {key} is missing"
        if exactly_one and sum(key in value for key in exactly_one) != 1:
            yield "", f"expected exactly one of {', '.join(exactly_one)}"
        for key in value.keys() & fields.keys():
            for path, wrong in fields[key](value[key]):
                yield f".{key}{path}", wrong
    return check


FLAG = one_of(True, False)
NAME = text(SUBDOMAIN, 253, "an RFC 1123 name")
SHORT_NAME = text(LABEL, 63, "an RFC 1123 label")
QUANTITIES = table(one_of("cpu", "memory", "ephemeral-storage"), text(QUANTITY, 32, "a quantity"))
PORT = number(1, 65535)
PORT_OR_NAME = either("a port or its name", PORT, text(PORT_NAME))
SHARE = either("a number or a percentage", number(0, 1 << 20), text(re.compile(r"[0-9]+%")))
LABELS = table(text(LABEL_KEY, 317, "a label's key"), text(LABEL_VALUE, 63, "a label's value"))
SELECTOR = record(matchLabels=LABELS)
PROTOCOL = one_of("TCP", "UDP")
CIDR = text(re.compile(r"[0-9.]+/[0-9]{1,2}"), 18, "an IPv4 CIDR")


def document(version, kind, **fields):
    return record("apiVersion kind metadata", apiVersion=one_of(version), kind=one_of(kind), metadata=record(
        "name labels", name=NAME, namespace=SHORT_NAME, labels=LABELS,
        annotations=table(text(LABEL_KEY, 317, "an annotation's key"), text())), **fields)


SECURITY = record(
    runAsNonRoot=FLAG, runAsUser=number(1, 1 << 31), runAsGroup=number(1, 1 << 31), fsGroup=number(1, 1 << 31),
    seccompProfile=record("type", type=one_of("RuntimeDefault")))
CONTAINER_SECURITY = record(
    allowPrivilegeEscalation=FLAG, readOnlyRootFilesystem=FLAG,
    capabilities=record(drop=many(text()), add=many(text())))
PROBE = record(
    exactly_one=("httpGet", "tcpSocket", "exec"), periodSeconds=number(1, 3600), timeoutSeconds=number(1, 3600),
    failureThreshold=number(1, 1000), successThreshold=number(1, 100), initialDelaySeconds=number(0, 3600),
    httpGet=record("path port", path=text(re.compile("/.*")), port=PORT_OR_NAME),
    tcpSocket=record("port", port=PORT_OR_NAME), exec=record("command", command=many(text(), 1)))
KEY_REF = record("name key", name=NAME, key=text())
CONTAINER = record(
    "name image", name=SHORT_NAME, image=text(IMAGE, 512, "an image with a tag or digest"),
    imagePullPolicy=one_of("IfNotPresent", "Always", "Never"), args=many(text()), command=many(text(), 1),
    ports=many(record("containerPort", name=text(PORT_NAME, 15, "a port's name"), containerPort=PORT,
                      protocol=PROTOCOL)),
    env=many(record("name", ("value", "valueFrom"), name=text(VARIABLE, 253, "a variable's name"), value=text(),
                    valueFrom=record("", ("configMapKeyRef", "secretKeyRef", "fieldRef"), configMapKeyRef=KEY_REF,
                                     secretKeyRef=KEY_REF, fieldRef=record("fieldPath", fieldPath=text())))),
    resources=record("requests limits", requests=QUANTITIES, limits=QUANTITIES),
    securityContext=CONTAINER_SECURITY,
    volumeMounts=many(record("name mountPath", name=SHORT_NAME, mountPath=text(re.compile("/.+")), readOnly=FLAG)),
    startupProbe=PROBE, readinessProbe=PROBE, livenessProbe=PROBE,
    lifecycle=record("", ("preStop",), preStop=record("exec", exec=record("command", command=many(text(), 1)))))
VOLUME = record(
    "name", ("configMap", "secret", "emptyDir"), name=SHORT_NAME,
    configMap=record("name", name=NAME, defaultMode=number(0, 0o777)),
    secret=record("secretName items", secretName=NAME, defaultMode=number(0, 0o777),
                  items=many(record("key path", key=text(), path=text()), 1)),
    emptyDir=record(medium=one_of("Memory", ""), sizeLimit=text(QUANTITY, 32, "a quantity")))
POD = record(
    "containers", serviceAccountName=NAME, automountServiceAccountToken=FLAG, enableServiceLinks=FLAG,
    terminationGracePeriodSeconds=number(0, 3600), securityContext=SECURITY, containers=many(CONTAINER, 1),
    volumes=many(VOLUME), topologySpreadConstraints=many(record(
        "maxSkew topologyKey whenUnsatisfiable labelSelector", maxSkew=number(1, 100),
        topologyKey=one_of("topology.kubernetes.io/zone", "kubernetes.io/hostname"),
        whenUnsatisfiable=one_of("ScheduleAnyway", "DoNotSchedule"), labelSelector=SELECTOR)))
DEPLOYMENT = record(
    "selector template", replicas=number(0, 1000), revisionHistoryLimit=number(0, 100),
    progressDeadlineSeconds=number(1, 3600), minReadySeconds=number(0, 3600), selector=SELECTOR,
    strategy=record("type", type=one_of("RollingUpdate", "Recreate"),
                    rollingUpdate=record(maxUnavailable=SHARE, maxSurge=SHARE)),
    template=record("metadata spec", metadata=record("labels", labels=LABELS), spec=POD))

SERVICE = record(
    "selector ports", type=one_of("ClusterIP", "LoadBalancer"), selector=LABELS,
    externalTrafficPolicy=one_of("Cluster", "Local"), loadBalancerSourceRanges=many(CIDR),
    ports=many(record("port", name=SHORT_NAME, port=PORT, targetPort=PORT_OR_NAME, protocol=PROTOCOL), 1))

SCALING = record(
    "policies", stabilizationWindowSeconds=number(0, 3600), selectPolicy=one_of("Max", "Min", "Disabled"),
    policies=many(record("type value periodSeconds", type=one_of("Pods", "Percent"), value=number(1, 1000),
                         periodSeconds=number(1, 1800)), 1))
AUTOSCALER = record(
    "scaleTargetRef maxReplicas metrics",
    scaleTargetRef=record("apiVersion kind name", apiVersion=one_of("apps/v1"), kind=one_of("Deployment"), name=NAME),
    minReplicas=number(1, 1000), maxReplicas=number(1, 1000),
    metrics=many(record("type resource", type=one_of("Resource"), resource=record(
        "name target", name=one_of("cpu", "memory"), target=record(
            "type", ("averageUtilization", "averageValue"), type=one_of("Utilization", "AverageValue"),
            averageUtilization=number(1, 1000), averageValue=text(QUANTITY, 32, "a quantity")))), 1),
    behavior=record(scaleUp=SCALING, scaleDown=SCALING))

PEER = record("", ("podSelector", "ipBlock"), podSelector=SELECTOR,
              ipBlock=record("cidr", cidr=CIDR, **{"except": many(CIDR)}))
POLICY_PORTS = many(record("port", port=PORT_OR_NAME, protocol=PROTOCOL), 1)
NETWORK = record(
    "podSelector policyTypes", podSelector=SELECTOR, policyTypes=many(one_of("Ingress", "Egress"), 1),
    ingress=many(record(ports=POLICY_PORTS, **{"from": many(PEER)})), egress=many(record(ports=POLICY_PORTS,
                                                                                           to=many(PEER))))

KINDS = {
    "Namespace": document("v1", "Namespace"),
    "ServiceAccount": document("v1", "ServiceAccount", automountServiceAccountToken=FLAG),
    "Service": document("v1", "Service", spec=SERVICE),
    "Deployment": document("apps/v1", "Deployment", spec=DEPLOYMENT),
    "HorizontalPodAutoscaler": document("autoscaling/v2", "HorizontalPodAutoscaler", spec=AUTOSCALER),
    "PodDisruptionBudget": document("policy/v1", "PodDisruptionBudget", spec=record(
        "selector", ("minAvailable", "maxUnavailable"), minAvailable=SHARE, maxUnavailable=SHARE,
        selector=SELECTOR)),
    "NetworkPolicy": document("networking.k8s.io/v1", "NetworkPolicy", spec=NETWORK),
    # Without data: what is secret is in no file.
    "Secret": document("v1", "Secret", type=one_of("Opaque")),
    # Generated, so without labels.
    "ConfigMap": record("apiVersion kind metadata data", apiVersion=one_of("v1"), kind=one_of("ConfigMap"),
                        metadata=record("name", name=NAME, namespace=SHORT_NAME),
                        data=table(text(re.compile(r"[A-Za-z0-9._-]{1,253}")), text())),
}


def misshapen(document_):
    """What is wrong with the shape of one document: a list of (path, what is wrong)."""
    kind = document_.get("kind") if isinstance(document_, dict) else None
    if kind not in KINDS:
        return [("", f"the kind {kind!r} is unknown")]
    return list(KINDS[kind](document_))
