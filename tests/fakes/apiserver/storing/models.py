"""Schemas of the built-in kinds, taken from the types of the installed `kubernetes` client.

The client's classes carry every field of every built-in kind; what they leave out (list keys, a few defaults) is added
here. A schema names another by {"$ref": "V1PodSpec"}; `node` follows it. Lists without a hint are atomic, as in Kubernetes.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

Schema = Mapping[str, Any]

_KEYED: dict[str, dict[str, list[str]]] = {
    "V1PodSpec": {
        "containers": ["name"], "initContainers": ["name"], "ephemeralContainers": ["name"], "volumes": ["name"],
        "imagePullSecrets": ["name"], "hostAliases": ["ip"], "topologySpreadConstraints": ["topologyKey", "whenUnsatisfiable"],
    },
    "V1Container": {"ports": ["containerPort", "protocol"], "env": ["name"], "volumeMounts": ["mountPath"]},
    "V1ServiceSpec": {"ports": ["port", "protocol"]},
    "V1ObjectMeta": {"ownerReferences": ["uid"]},
    "V1ServiceAccount": {"secrets": ["name"]},
    "V1ResourceRequirements": {"claims": ["name"]},
    "V1ValidatingWebhookConfiguration": {"webhooks": ["name"]},
    "V1MutatingWebhookConfiguration": {"webhooks": ["name"]},
}  # fmt: skip
_SETS = {"V1ObjectMeta": {"finalizers"}, "V1NamespaceSpec": {"finalizers"}}
_ATOMIC_FIELDS = {"V1PodSpec": {"nodeSelector"}, "V1ServiceSpec": {"selector"}}
_ATOMIC_TYPES = {
    "V1LabelSelector", "V1ObjectReference", "V1LocalObjectReference", "V1ConfigMapKeySelector", "V1SecretKeySelector",
    "V1ObjectFieldSelector", "V1ResourceFieldSelector", "V1OwnerReference", "V1RoleRef", "V1NodeSelector", "V1TypedLocalObjectReference",
}  # fmt: skip
_DEFAULTS: dict[str, dict[str, Any]] = {
    "V1ContainerPort": {"protocol": "TCP"},
    "V1ServicePort": {"protocol": "TCP"},
    "V1ObjectFieldSelector": {"apiVersion": "v1"},
    "V1ServiceSpec": {"type": "ClusterIP", "sessionAffinity": "None"},
    "V1DeploymentSpec": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
    "V1ReplicaSetSpec": {"replicas": 1},
    "V1StatefulSetSpec": {"replicas": 1},
    "V1PodSpec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"},
    "V1CustomResourceDefinitionSpec": {"conversion": {"strategy": "None"}},
    "V1ValidatingWebhook": {"failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10,
                            "namespaceSelector": {}, "objectSelector": {}},
    "V1MutatingWebhook": {"failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10,
                          "namespaceSelector": {}, "objectSelector": {}, "reinvocationPolicy": "Never"},
    "V1RuleWithOperations": {"scope": "*"},
    "AdmissionregistrationV1ServiceReference": {"port": 443},
}  # fmt: skip
_SCALARS: dict[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "format": "byte"},
    "object": {"x-kubernetes-preserve-unknown-fields": True},
}
_FREE_TEXT = {"limits", "requests", "capacity", "allocatable", "overhead", "hard"}  # quantities: text or number
_RENAMED = {
    ("", "Event"): "CoreV1Event",
    ("events.k8s.io", "Event"): "EventsV1Event",
    ("discovery.k8s.io", "EndpointSlice"): "V1EndpointSlice",
}


def type_name(group: str, version: str, kind: str) -> str:
    """The client's class of a built-in kind, e.g. V1Deployment."""
    return _RENAMED.get((group, kind), f"{version[0].upper()}{version[1:]}{kind}")


def node(schema: Schema) -> Schema:
    """The schema itself, or the one it refers to."""
    named = schema.get("$ref")
    return schema_of(named) if named else schema


@cache
def schema_of(name: str) -> Schema:
    """The schema of one type of the client; raises KeyError for an unknown one."""
    from kubernetes.client import models

    model: Any = getattr(models, name, None)
    if model is None:
        raise KeyError(name)
    fields: dict[str, Any] = {}
    for attribute, written in model.attribute_map.items():
        fields[written] = _field(name, written, model.openapi_types[attribute])
        described = model.model_fields[attribute].description if attribute in model.model_fields else None
        if described and "$ref" not in fields[written]:
            fields[written]["description"] = described
    required = [
        model.attribute_map[key]
        for key, value in model.model_fields.items()
        if value.is_required() and key in model.attribute_map
    ]
    schema: dict[str, Any] = {
        "type": "object",
        "description": (model.__doc__ or "").strip().split("\n")[0],
        "properties": fields,
    }
    if required:
        schema["required"] = required
    if name in _ATOMIC_TYPES:
        schema["x-kubernetes-map-type"] = "atomic"
    for key, value in _DEFAULTS.get(name, {}).items():
        fields[key] = {**fields[key], "default": value}
    return schema


def _field(owner: str, name: str, written: str) -> dict[str, Any]:
    if name in _FREE_TEXT and written == "Dict[str, str]":
        return {"type": "object", "additionalProperties": dict(_SCALARS["object"])}
    made = _typed(written)
    if made.get("type") == "array":
        keys = _KEYED.get(owner, {}).get(name) or (["type"] if name == "conditions" else None)
        if keys:
            made |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}
        elif name in _SETS.get(owner, ()):
            made["x-kubernetes-list-type"] = "set"
    if name in _ATOMIC_FIELDS.get(owner, ()):
        made["x-kubernetes-map-type"] = "atomic"
    return made


def _typed(written: str) -> dict[str, Any]:
    if found := re.fullmatch(r"List\[(.*)\]", written):
        return {"type": "array", "items": _typed(found[1])}
    if found := re.fullmatch(r"Dict\[str, (.*)\]", written):
        return {"type": "object", "additionalProperties": _typed(found[1])}
    return dict(_SCALARS[written]) if written in _SCALARS else {"$ref": written}


META: Schema = {"$ref": "V1ObjectMeta"}
