"""A custom resource of the contract's own: Widget, with everything a CustomResourceDefinition can ask of a server."""

import uuid
from collections.abc import Callable
from typing import Any

import httpx

from tests.waiting import until

Json = dict[str, Any]
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}

_STEP = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "weight": {"type": "integer", "minimum": 0, "maximum": 100},
        "note": {"type": "string"},
    },
}
_KEPT = {"rule": "self == oldSelf", "message": "pinned cannot change"}
SPEC: Json = {
    "type": "object",
    "required": ["model"],
    "x-kubernetes-validations": [
        {"rule": "self.low <= self.high", "message": "low is above high", "fieldPath": ".low"},
        {
            "rule": "!has(self.steps) || self.steps.all(s, !has(s.weight) || s.weight <= self.high)",
            "messageExpression": "'no weight of ' + self.model + ' may be above high'",
        },
    ],
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 20, "pattern": "^[a-z0-9-]+$"},
        "pinned": {"type": "string", "minLength": 1, "maxLength": 20, "x-kubernetes-validations": [_KEPT]},
        "mode": {"type": "string", "enum": ["shadow", "live"], "default": "shadow"},
        "low": {"type": "integer", "default": 0},
        "high": {"type": "integer", "default": 100},
        "replicas": {"type": "integer", "minimum": 0},
        "ratio": {"type": "number"},
        "port": {"x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "limits": {"type": "object", "default": {}, "properties": {"rate": {"type": "integer", "default": 7}}},
        "list": {"type": "array", "items": {"type": "string"}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "steps": {"type": "array", "maxItems": 10, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": _STEP},
    },
}  # fmt: skip
STATUS: Json = {
    "type": "object",
    "properties": {
        "phase": {"type": "string"},
        "replicas": {"type": "integer"},
        "selector": {"type": "string"},
        "conditions": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["type", "status"],
                "properties": {"type": {"type": "string"}, "status": {"type": "string"}},
            },
        },
    },
}


def definition(group: str, *, status: bool = True) -> Json:
    """A Widget CRD in a group of the test's own."""
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC, "status": STATUS}}},
        "additionalPrinterColumns": [
            {"name": "Model", "type": "string", "jsonPath": ".spec.model"},
            {"name": "Phase", "type": "string", "jsonPath": ".status.phase", "priority": 1},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    }
    names = {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": names,
            "versions": [version | ({"subresources": {"status": {}, "scale": scale}} if status else {})],
        },
    }


def new_group() -> str:
    return f"g{uuid.uuid4().hex[:8]}.example.com"


def install(http: httpx.Client, body: Json) -> str:
    """Create a definition and wait until it serves; answers the path of its API group version."""
    answer = http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=body)
    assert answer.status_code == 201, answer.json()["message"][:500]
    spec = body["spec"]
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}"
    eventually(lambda: http.get(f"{path}/{spec['names']['plural']}").status_code == 200)
    return path


def uninstall(http: httpx.Client, body: Json) -> None:
    http.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{body['metadata']['name']}")


def eventually(holds: Callable[[], bool]) -> None:
    until(holds, every_s=0.05)


def refused(answer: httpx.Response, code: int, reason: str) -> Json:
    """The Status body of a refusal, which must be of this code and reason."""
    body: Json = answer.json()
    found = (answer.status_code, body.get("reason"), body["kind"], body.get("status"), body.get("code"))
    assert found == (code, reason, "Status", "Failure", code), body
    return body


def causes(body: Json) -> dict[str, str]:
    """Message by field."""
    return {cause.get("field", ""): cause["message"] for cause in body["details"].get("causes", [])}
