# SPDX-License-Identifier: MIT
"""What a kubelet makes of a container's environment and arguments."""
import re

REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


def variables_in(text):
    """The names in $(NAME) of a value or an argument; $$(NAME) stands for itself."""
    return [match[1] for match in REFERENCE.finditer(text) if match[1]]


def expand(text, values):
    """The text with each $(NAME) that is known replaced, and $$ by $, as Kubernetes does."""
    return REFERENCE.sub(lambda match: values.get(match[1], match[0]) if match[1] else "$", text)


def environment(container, data_of, fields):
    """The variables of a container. data_of(name): a ConfigMap's data; fields: what fieldRef gives."""
    values = {}
    for entry in container.get("env", []):
        source = entry.get("valueFrom", {})
        if "configMapKeyRef" in source:
            values[entry["name"]] = data_of(source["configMapKeyRef"]["name"])[source["configMapKeyRef"]["key"]]
        elif "fieldRef" in source:
            values[entry["name"]] = fields[source["fieldRef"]["fieldPath"]]
        else:
            values[entry["name"]] = expand(entry["value"], values)
    return values
