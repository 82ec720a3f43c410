# SPDX-License-Identifier: MIT
"""What must hold between the fields of rendered manifests, which no schema can tell.

lint(documents) gives a list of (where, what is wrong). Each rule is a function of a Cluster that yields such pairs;
test_lint.py breaks each of them once.
"""
import json
import re

from pods import variables_in
from shapes import misshapen

RESTRICTED = "pod-security.kubernetes.io/"
UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
         "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
LEAVE_SECONDS = 5  # What it takes until no node sends a new connection to a pod that goes.
GUNICORN_SECONDS = 15  # graceful_timeout of deploy/backend/gunicorn.conf.py; test_manifests.py compares.
SPARE_SECONDS = 3


def lint(documents):
    found = []
    for document in documents:
        found += [(name_of(document) + path, wrong) for path, wrong in misshapen(document)]
    if not found:  # The rules below rely on the shape.
        cluster = Cluster(documents)
        for rule in RULES:
            found += rule(cluster)
    return found


def name_of(document):
    document = document if isinstance(document, dict) else {}
    metadata = document.get("metadata")
    return f"{document.get('kind')}/{metadata.get('name') if isinstance(metadata, dict) else '?'}"


def quantity(text):
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text).groups()
    return float(number) * UNITS[unit]


class Cluster:
    """The documents, found by kind."""

    def __init__(self, documents):
        self.documents = documents

    def of(self, kind):
        return [document for document in self.documents if document["kind"] == kind]

    def named(self, kind, name):
        return next((document for document in self.of(kind) if document["metadata"]["name"] == name), None)

    def deployments(self):
        """Each with its name and its pod's spec."""
        for deployment in self.of("Deployment"):
            yield name_of(deployment), deployment, deployment["spec"]["template"]["spec"]

    def containers(self):
        for where, deployment, pod in self.deployments():
            for container in pod["containers"]:
                yield f"{where}: container {container['name']}", deployment, pod, container

    def selected(self, selector):
        """The Deployments whose pods a set of labels selects."""
        return [deployment for deployment in self.of("Deployment")
                if selector.items() <= labels_of(deployment).items()]


def labels_of(deployment):
    return deployment["spec"]["template"]["metadata"]["labels"]


def ports_of(deployment):
    """Names and numbers by which the ports of a Deployment's pods can be called."""
    ports = [port for container in deployment["spec"]["template"]["spec"]["containers"]
             for port in container.get("ports", [])]
    return {port["containerPort"] for port in ports} | {port["name"] for port in ports if "name" in port}


def names_are_unique(cluster):
    seen = set()
    for document in cluster.documents:
        if name_of(document) in seen:
            yield name_of(document), "there are two of this name"
        seen.add(name_of(document))
    for where, _, _, container in cluster.containers():
        for field in ("ports", "env", "volumeMounts"):
            keys = [entry.get("mountPath") or entry["name"] for entry in container.get(field, []) if "name" in entry]
            if len(keys) != len(set(keys)):
                yield where, f"two of {field} have the same name or place"


def namespaces(cluster):
    spaces = cluster.of("Namespace")
    if len(spaces) != 1:
        yield "Namespace", f"expected one, not {len(spaces)}"
        return
    name, labels = spaces[0]["metadata"]["name"], spaces[0]["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        if labels.get(RESTRICTED + mode) != "restricted":
            yield name_of(spaces[0]), f"{RESTRICTED}{mode} is not restricted"
    for document in cluster.documents:
        if document["kind"] != "Namespace" and document["metadata"].get("namespace") != name:
            yield name_of(document), f"is not in the namespace {name}"


def selectors(cluster):
    for where, deployment, pod in cluster.deployments():
        selector = deployment["spec"]["selector"].get("matchLabels", {})
        if not selector or deployment not in cluster.selected(selector):
            yield where, "its selector does not select its own pods"
        if len(cluster.selected(selector)) > 1:
            yield where, "its selector selects pods of another Deployment"
        for spread in pod.get("topologySpreadConstraints", []):
            if cluster.selected(spread["labelSelector"].get("matchLabels", {})) != [deployment]:
                yield where, "topologySpreadConstraints do not count its own pods"
        if {spread["topologyKey"] for spread in pod.get("topologySpreadConstraints", [])} != {
                "topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
            yield where, "is not spread over zones and nodes"


def autoscalers(cluster):
    for scaler in cluster.of("HorizontalPodAutoscaler"):
        where, spec = name_of(scaler), scaler["spec"]
        if cluster.named("Deployment", spec["scaleTargetRef"]["name"]) is None:
            yield where, f"scaleTargetRef: there is no Deployment {spec['scaleTargetRef']['name']}"
        if not 2 <= spec.get("minReplicas", 1) <= spec["maxReplicas"]:
            yield where, "expected 2 <= minReplicas <= maxReplicas"
        for metric in spec["metrics"]:
            target = metric["resource"]["target"]
            if (target["type"] == "Utilization") != ("averageUtilization" in target):
                yield where, f"the target's type {target['type']} and its value do not fit"
        if not {"scaleUp", "scaleDown"} <= set(spec.get("behavior", {})):
            yield where, "behavior does not say how to scale up and down"
    for where, deployment, pod in cluster.deployments():
        scalers = [scaler for scaler in cluster.of("HorizontalPodAutoscaler")
                   if scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]]
        if len(scalers) != 1:
            yield where, f"has {len(scalers)} autoscalers, expected one"
        if scalers and "replicas" in deployment["spec"]:
            yield where, "has replicas beside an autoscaler, which every apply would put back"
        needed = {metric["resource"]["name"] for scaler in scalers for metric in scaler["spec"]["metrics"]
                  if metric["resource"]["target"]["type"] == "Utilization"}
        for container in pod["containers"]:
            for name in needed - set(container.get("resources", {}).get("requests", {})):
                yield where, f"container {container['name']} requests no {name}: its autoscaler would do nothing"


def services(cluster):
    for service in cluster.of("Service"):
        where, spec = name_of(service), service["spec"]
        behind = cluster.selected(spec["selector"])
        if len(behind) != 1 or not spec["selector"]:
            yield where, f"selects the pods of {len(behind)} Deployments, expected one"
        for port in spec["ports"]:
            target = port.get("targetPort", port["port"])
            if any(target not in ports_of(deployment) for deployment in behind):
                yield where, f"targetPort {target} is no port of the pods behind it"
        if "externalTrafficPolicy" in spec and spec.get("type") != "LoadBalancer":
            yield where, "externalTrafficPolicy is for a LoadBalancer"
    for where, deployment, _ in cluster.deployments():
        if not any(deployment in cluster.selected(service["spec"]["selector"]) and service["spec"].get("type")
                   == "LoadBalancer" and 80 in [port["port"] for port in service["spec"]["ports"]]
                   for service in cluster.of("Service")):
            yield where, "no LoadBalancer has port 80 for it"


def disruption(cluster):
    for budget in cluster.of("PodDisruptionBudget"):
        where, spec = name_of(budget), budget["spec"]
        selected = cluster.selected(spec["selector"].get("matchLabels", {}))
        if len(selected) != 1:
            yield where, f"selects the pods of {len(selected)} Deployments, expected one"
        if spec.get("maxUnavailable") in (0, "0%") or spec.get("minAvailable") == "100%":
            yield where, "no pod could ever be evicted: nodes could not be drained"
        for deployment in selected:
            for scaler in cluster.of("HorizontalPodAutoscaler"):
                if scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"] and isinstance(
                        spec.get("minAvailable"), int) and spec["minAvailable"] >= scaler["spec"]["minReplicas"]:
                    yield where, "minAvailable is all of minReplicas: nodes could not be drained"
    for where, deployment, _ in cluster.deployments():
        if not any(deployment in cluster.selected(budget["spec"]["selector"].get("matchLabels", {}))
                   for budget in cluster.of("PodDisruptionBudget")):
            yield where, "has no PodDisruptionBudget"


def network(cluster):
    policies = cluster.of("NetworkPolicy")
    if not any(not policy["spec"]["podSelector"] and not {"ingress", "egress"} & set(policy["spec"])
               and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"} for policy in policies):
        yield "NetworkPolicy", "none denies all that no other allows"
    for policy in policies:
        where, spec = name_of(policy), policy["spec"]
        labels = spec["podSelector"].get("matchLabels", {})
        selected = cluster.selected(labels)
        if labels and len(selected) != 1:
            yield where, f"selects the pods of {len(selected)} Deployments, expected one"
        for direction in ("ingress", "egress"):
            if direction in spec and direction.capitalize() not in spec["policyTypes"]:
                yield where, f"has {direction} rules, but policyTypes does not name it"
        for rule in spec.get("ingress", []):
            yield from _policy_ports(where, rule, selected)
        for rule in spec.get("egress", []):
            for peer in rule.get("to", []):
                if "podSelector" in peer:
                    far = cluster.selected(peer["podSelector"].get("matchLabels", {}))
                    if not far:
                        yield where, "an egress rule is for pods that there are not"
                    yield from _policy_ports(where, rule, far)
    for where, deployment, _ in cluster.deployments():
        if not any(policy["spec"]["podSelector"] and policy["spec"].get("ingress")
                   and deployment in cluster.selected(policy["spec"]["podSelector"]["matchLabels"])
                   for policy in policies):
            yield where, "no NetworkPolicy lets anybody reach it"


def _policy_ports(where, rule, deployments):
    for port in rule.get("ports", []):
        if any(port["port"] not in ports_of(deployment) for deployment in deployments):
            yield where, f"the port {port['port']} is none of the pods'"


def accounts(cluster):
    for where, _, pod in cluster.deployments():
        account = cluster.named("ServiceAccount", pod.get("serviceAccountName", "default"))
        if account is None:
            yield where, f"there is no ServiceAccount {pod.get('serviceAccountName')}"
        elif account.get("automountServiceAccountToken") is not False:
            yield name_of(account), "mounts its token"
        if pod.get("automountServiceAccountToken") is not False:
            yield where, "mounts a token of the API server"


def security(cluster):
    for where, _, pod in cluster.deployments():
        context = pod.get("securityContext", {})
        for field in ("runAsNonRoot", "runAsUser", "runAsGroup", "seccompProfile"):
            if not context.get(field):
                yield where, f"securityContext without {field}"
    for where, _, _, container in cluster.containers():
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False:
            yield where, "allowPrivilegeEscalation is not false"
        if context.get("readOnlyRootFilesystem") is not True:
            yield where, "readOnlyRootFilesystem is not true"
        capabilities = context.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
            yield where, "does not drop ALL capabilities and add none"


def resources(cluster):
    for where, _, pod, container in cluster.containers():
        requests = container.get("resources", {}).get("requests", {})
        limits = container.get("resources", {}).get("limits", {})
        for name in ("cpu", "memory", "ephemeral-storage"):
            if name not in requests or name not in limits:
                yield where, f"no request or no limit for {name}"
            elif quantity(requests[name]) > quantity(limits[name]):
                yield where, f"requests more {name} than its limit"
        for volume in pod.get("volumes", []):
            scratch = volume.get("emptyDir")
            if scratch is None or not limits:
                continue
            name = "memory" if scratch.get("medium") == "Memory" else "ephemeral-storage"
            if "sizeLimit" not in scratch:
                yield where, f"the emptyDir {volume['name']} has no sizeLimit"
            elif name in limits and quantity(scratch["sizeLimit"]) > quantity(limits[name]):
                yield where, f"the emptyDir {volume['name']} is larger than the limit of {name}"


def probes(cluster):
    for where, deployment, _, container in cluster.containers():
        patience = {}
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(name)
            if probe is None:
                yield where, f"has no {name}"
                continue
            port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
            if port is not None and port not in ports_of(deployment):
                yield where, f"{name} asks a port that it has not: {port}"
            patience[name] = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
        if patience.get("livenessProbe", 1 << 20) <= patience.get("readinessProbe", 0):
            yield where, "is killed before it is taken out of its Service"


def volumes(cluster):
    for where, _, pod, container in cluster.containers():
        known = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in known:
                yield where, f"mounts the volume {mount['name']}, which there is not"
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        for name in set(known) - mounted:
            yield where, f"the volume {name} is mounted nowhere"
        for volume in known.values():
            if "configMap" in volume and cluster.named("ConfigMap", volume["configMap"]["name"]) is None:
                yield where, f"there is no ConfigMap {volume['configMap']['name']}"
            if "secret" in volume and cluster.named("Secret", volume["secret"]["secretName"]) is None:
                yield where, f"there is no Secret {volume['secret']['secretName']}"


def variables(cluster):
    for where, _, _, container in cluster.containers():
        known = set()
        for entry in container.get("env", []):
            for name in set(variables_in(entry.get("value", ""))) - known:
                yield where, f"{entry['name']} uses $({name}), which is not set before it"
            known.add(entry["name"])
            reference = entry.get("valueFrom", {}).get("configMapKeyRef")
            if reference:
                source = cluster.named("ConfigMap", reference["name"])
                if source is None or reference["key"] not in source["data"]:
                    yield where, f"{entry['name']} is from {reference['name']}.{reference['key']}, which there is not"
        for argument in container.get("args", []) + container.get("command", []):
            for name in set(variables_in(argument)) - known:
                yield where, f"an argument uses $({name}), which is not set"


def images(cluster):
    for where, _, _, container in cluster.containers():
        image = container["image"]
        if "/" not in image or not ("." in image.split("/")[0] or ":" in image.split("/")[0]):
            yield where, f"the image {image} names no registry: the overlay does not set it"
        if image.endswith(":latest"):
            yield where, "the tag latest says nothing"


def rollouts(cluster):
    for where, deployment, _ in cluster.deployments():
        rolling = deployment["spec"].get("strategy", {}).get("rollingUpdate", {})
        if rolling.get("maxUnavailable") not in (0, "0%") or rolling.get("maxSurge", "25%") in (0, "0%"):
            yield where, "an old pod may stop before a new one serves"


def endings(cluster):
    """A pod that stops leaves its Service, then finishes what it has, then is killed, in this order."""
    for where, _, pod, container in cluster.containers():
        leaves = 0
        command = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [])
        if command:
            if len(command) != 2 or command[0] != "/bin/sleep" or not command[1].isdecimal():
                yield where, f"preStop is {command}: expected /bin/sleep SECONDS"
                continue
            leaves = int(command[1])
        config = config_of(cluster, pod, container)
        if config is None:
            finishes = GUNICORN_SECONDS
        else:
            leaves += config.get("drain_grace_ms", 0) / 1000
            finishes = config.get("drain_ms", 10000) / 1000
        if leaves < LEAVE_SECONDS:
            yield where, f"stops {leaves:g} s after it is asked to, expected {LEAVE_SECONDS} or more: " \
                         "other nodes still send it connections"
        if pod.get("terminationGracePeriodSeconds", 30) < leaves + finishes + SPARE_SECONDS:
            yield where, f"terminationGracePeriodSeconds is less than {leaves + finishes + SPARE_SECONDS:g}"


def configs(cluster):
    """The config of the front end agrees with its pod."""
    for where, deployment, pod, container in cluster.containers():
        config = config_of(cluster, pod, container)
        if config is None:
            continue
        for address in (config.get("listen", ":80"), config.get("admin", {}).get("listen", "127.0.0.1:8081")):
            host, port = address.rsplit(":", 1)
            if host or int(port) not in ports_of(deployment):
                yield where, f"its config listens on {address}, which is no port of the pod"
        token = config.get("admin", {}).get("token_file") or ""
        secrets = {volume["name"]: volume["secret"] for volume in pod.get("volumes", []) if "secret" in volume}
        if token not in [f"{mount['mountPath']}/{item['path']}" for mount in container.get("volumeMounts", [])
                         for item in secrets.get(mount["name"], {"items": []})["items"]]:
            yield where, f"admin.token_file {token!r} is in no Secret of the pod"


def config_of(cluster, pod, container):
    """The holdfast.json that a container is started with, as an object; None if it has none."""
    by_name = {volume["name"]: volume for volume in pod.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        source = by_name.get(mount["name"], {}).get("configMap")
        if source and f"--config={mount['mountPath']}/holdfast.json" in container.get("args", []):
            found = cluster.named("ConfigMap", source["name"])
            return json.loads(found["data"]["holdfast.json"]) if found else {}
    return None


RULES = (names_are_unique, namespaces, selectors, autoscalers, services, disruption, network, accounts, security,
         resources, probes, volumes, variables, images, rollouts, endings, configs)
