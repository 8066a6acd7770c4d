"""A CRD's own schema, made strict for jsonschema: what the API server would prune or refuse, these tests refuse."""

import tarfile
from pathlib import Path
from typing import Any

import yaml


def crd_schema(archive: Path, member: str, version: str) -> dict[str, Any]:
    """The strict JSON schema of one served version of a CRD within crds.tar.xz."""
    with tarfile.open(archive, "r:xz") as tar:
        file = tar.extractfile(member)
        assert file is not None
        crd = yaml.load(file, yaml.CSafeLoader)
    (served,) = (v for v in crd["spec"]["versions"] if v["name"] == version and v["served"])
    schema: dict[str, Any] = _strict(served["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}  # the API server's own, not the CRD's
    return schema


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    strict = {key: _strict(value) for key, value in node.items()}
    is_object = isinstance(node.get("properties"), dict) and node.get("type") == "object"
    if is_object and not node.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    if node.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
    if node.get("nullable") is True and isinstance(node.get("type"), str):
        strict["type"] = [node["type"], "null"]
    return strict
