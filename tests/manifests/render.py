# SPDX-License-Identifier: MIT
"""Renders an overlay of deploy/k8s as `kubectl kustomize` does, on machines that have no kubectl that can.

Only what our kustomizations use is known; anything else is an error, never passed over. Where a kubectl is at
hand, test_manifests.py compares.
"""
import copy
import hashlib
import json
import os

import yaml

KNOWN = {"apiVersion", "kind", "namespace", "resources", "images", "configMapGenerator", "patches"}
WITHOUT_NAMESPACE = {"Namespace"}
# Lists that a patch merges by a key of their items; and those that it replaces whole.
MERGED = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}
REPLACED = {"metrics", "policies", "args", "command"}


class Unknown(Exception):
    """Something that this renderer does not know."""


def render(folder):
    """The documents of a kustomization, in the order of its resources."""
    documents, generated = _accumulate(folder)
    for (name, data) in generated.items():
        documents.append({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
                          "metadata": {"name": _hashed(name, data), **_namespace_of(folder)}})
    for document in documents:
        _rename(document, {name: _hashed(name, data) for name, data in generated.items()})
    return documents


def _namespace_of(folder):
    namespace = _load(folder).get("namespace")
    return {"namespace": namespace} if namespace else {}


def _load(folder):
    with open(os.path.join(folder, "kustomization.yaml"), encoding="utf-8") as file:
        kustomization = yaml.safe_load(file)
    if kustomization.get("kind") != "Kustomization" or set(kustomization) - KNOWN:
        raise Unknown(f"{folder}: {kustomization.get('kind')} with {sorted(set(kustomization) - KNOWN)}")
    return kustomization


def _accumulate(folder):
    """The documents, and the data of generated ConfigMaps, of a kustomization and those below it."""
    kustomization = _load(folder)
    documents, generated = [], {}
    for resource in kustomization.get("resources", []):
        path = os.path.join(folder, resource)
        if os.path.isdir(path):
            below, data = _accumulate(path)
            documents += below
            generated.update(data)
        else:
            documents += read(path)
    for generator in kustomization.get("configMapGenerator", []):
        _generate(folder, generator, generated)
    for document in documents:
        _set_namespace(document, kustomization.get("namespace"))
    for patch in kustomization.get("patches", []):
        _patch(folder, patch, documents)
    for document in documents:
        for image in kustomization.get("images", []):
            _set_image(document, image)
    return documents, generated


def read(path):
    with open(path, encoding="utf-8") as file:
        return [document for document in yaml.safe_load_all(file) if document is not None]


def _generate(folder, generator, generated):
    if set(generator) - {"name", "literals", "files", "behavior"}:
        raise Unknown(f"{folder}: configMapGenerator with {sorted(generator)}")
    if (generator.get("behavior", "create") == "replace") != (generator["name"] in generated):
        raise Unknown(f"{folder}: the ConfigMap {generator['name']} and its behavior")
    data = dict(literal.split("=", 1) for literal in generator.get("literals", []))
    for name in generator.get("files", []):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            data[os.path.basename(name)] = file.read()
    generated[generator["name"]] = data


def _hashed(name, data):
    """The name with the hash that kustomize gives it, so that another content has another name."""
    text = json.dumps({"data": data, "kind": "ConfigMap", "name": ""}, sort_keys=True,
                      separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return f"{name}-{digest.translate(str.maketrans('013ae', 'ghkmt'))}"


def _set_namespace(document, namespace):
    if namespace is None:
        return
    if document["kind"] in WITHOUT_NAMESPACE:
        document["metadata"]["name"] = namespace
    else:
        document["metadata"]["namespace"] = namespace


def _set_image(document, image):
    if set(image) - {"name", "newName", "newTag", "digest"}:
        raise Unknown(f"images with {sorted(image)}")
    for container in pod_containers(document):
        if container.get("image") == image["name"]:
            tag = f"@{image['digest']}" if "digest" in image else f":{image['newTag']}"
            container["image"] = image.get("newName", image["name"]) + tag


def pod_containers(document):
    spec = document.get("spec", {}).get("template", {}).get("spec", {})
    return spec.get("containers", []) + spec.get("initContainers", [])


def _rename(node, names):
    """References to generated ConfigMaps, wherever they stand."""
    if isinstance(node, list):
        for item in node:
            _rename(item, names)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("configMap", "configMapKeyRef", "configMapRef") and isinstance(value, dict):
                value["name"] = names.get(value["name"], value["name"])
            _rename(value, names)


def _patch(folder, patch, documents):
    if set(patch) - {"path", "target"} or set(patch.get("target", {"kind": ""})) != {"kind"}:
        raise Unknown(f"{folder}: patches with {patch}")
    (change,) = read(os.path.join(folder, patch["path"]))
    target = patch.get("target")
    hits = [document for document in documents if document["kind"] == change["kind"]
            and (target or document["metadata"]["name"] == change["metadata"]["name"])]
    if not hits:
        raise Unknown(f"{folder}: the patch {patch['path']} is for nobody")
    for document in hits:
        ours = copy.deepcopy(change)
        del ours["metadata"]["name"]
        _merge(document, ours)


def _merge(node, change):
    """A strategic merge of change into node."""
    for key, value in change.items():
        if key.startswith("$"):
            raise Unknown(f"the directive {key} in a patch")
        if value is None:
            node.pop(key, None)
        elif isinstance(value, dict) and isinstance(node.get(key), dict):
            _merge(node[key], value)
        elif isinstance(value, list) and key in node and key in MERGED:
            _merge_list(node[key], value, MERGED[key])
        elif isinstance(value, list) and key in node and key not in REPLACED:
            raise Unknown(f"how a patch merges the list {key}")
        else:
            node[key] = value


def _merge_list(items, changes, by):
    for change in changes:
        same = [item for item in items if item[by] == change[by]]
        if same:
            _merge(same[0], change)
        else:
            items.append(change)
