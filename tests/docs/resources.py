"""The resources as the reference shows them: one complete YAML each, every field with its words; the rules; the status.

Made from the CRDs' schemas, so that a field without words, or one that the example forgot, cannot stand in the page."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from operators.api.crds import definitions

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "ModelService": {
        "model": "flows",
        "revision": {
            "version": "7",
            "bundle": "sha256:" + "5f" * 32,
            "operatingPoint": "siem_alerting",
            "thresholds": {"siem_alerting": 0.62},
            "featureService": "flows_v2",
            "suppressions": [
                {
                    "id": "nightly-scan",
                    "owner": "ana@example.org",
                    "reason": "our own vulnerability scanner",
                    "expires": "2026-12-31T00:00:00Z",
                    "when": "host == '10.0.0.5'",
                    "becomes": "benign",
                },
            ],
        },
        "rollout": {"policyRef": {"name": "careful"}},
        "experiment": {
            "variants": [
                {"name": "today", "weight": 50},
                {
                    "name": "stricter",
                    "weight": 50,
                    "revision": {"version": "7", "bundle": "sha256:" + "5f" * 32, "operatingPoint": "executive_dashboard"},
                },
            ],
            "duration": "7d",
            "metric": "alertRate",
            "goal": "lower",
            "analysis": {"gates": [{"name": "errors", "margin": 0.01}, {"name": "latency", "margin": 0.02}]},
        },
        "backend": {"ray": {"rayService": "vedette", "application": "vedette", "deployment": "Replica", "metricsPort": 8080}},
        "scaling": {
            "minReplicas": 2,
            "maxReplicas": 8,
            "targetOngoingRequests": 8,
            "latencyObjective": "100ms",
            "streamLag": 5000,
            "schedule": [
                {
                    "name": "working-day",
                    "start": "0 8 * * MON-FRI",
                    "duration": "10h",
                    "timeZone": "Europe/Rome",
                    "minReplicas": 4,
                    "maxReplicas": 8,
                }
            ],
        },
        "scenarios": ["night_shift"],
        "paused": False,
    },
    "RolloutPolicy": {
        "steps": [
            {"mirror": {"percent": 100}},
            {"analysis": {"minRequests": 2000, "maxDuration": "6h"}},
            {"setReplicas": {"replicas": 3}},
            {"setWeight": 5},
            {"pause": {"duration": "10m"}},
            {"analysis": {}},
            {"setWeight": 25},
            {"analysis": {"maxDuration": "1d"}},
            {
                "approval": {
                    "approvers": 2,
                    "groups": ["soc-leads", "detection-engineering"],
                    "roles": ["detection-lead", "soc-manager"],
                    "validFor": "1d",
                    "reasonRequired": True,
                    "signed": False,
                    "breakGlassRoles": ["incident-commander"],
                }
            },
            {"setWeight": 100},
        ],
        "analysis": {
            "gates": [
                {"name": "errors", "margin": 0.005, "unit": "request"},
                {"name": "latency", "margin": 0.02},
                {"name": "alertRate", "margin": 0.02, "unit": "entity", "twoSided": True},
                {"name": "flips", "margin": 0.05, "unit": "entity"},
            ],
            "alpha": 0.05,
            "beta": 0.05,
            "combine": "bonferroni",
            "minRequests": 500,
            "staleAfter": "1m",
            "latencyObjective": "100ms",
        },
        "progressDeadline": "2d",
        "abortOnDeadline": False,
        "rollbackWindow": "1d",
        "alertBudget": {"minRequests": 2000, "tolerance": 0.1},
        "historyLimit": 10,
        "roleGroups": {"soc-manager": ["soc-managers"]},
    },
}
"""By kind; what is not in them is shown commented out."""
LINKED = {
    "spec.rollout.policy": "the fields of a RolloutPolicy's spec",
    "spec.experiment.analysis": "the rest as in a RolloutPolicy",
    "spec.experiment.variants[].revision": "the rest as in spec.revision",
}
"""Parts that are shown in full elsewhere."""
WIDTH = 118


@cache
def schema_of(kind: str) -> Mapping[str, Any]:
    """The openAPIV3Schema of a kind."""
    (found,) = (d for d in definitions().values() if d["spec"]["names"]["kind"] == kind)
    schema: Mapping[str, Any] = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def document(kind: str, name: str) -> dict[str, Any]:
    """The example as a resource."""
    return {"apiVersion": "vedette.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": EXAMPLES[kind]}


def annotated(kind: str, name: str) -> str:
    """The whole resource as YAML, each field below its words."""
    head = f"```yaml\napiVersion: vedette.dev/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\nspec:\n"
    lines = _mapping(schema_of(kind)["properties"]["spec"], EXAMPLES[kind], "  ", "spec", set())
    return head + "\n".join(lines) + "\n```\n"


def _mapping(schema: Mapping[str, Any], value: Mapping[str, Any], pad: str, path: str, told: set[str]) -> Iterator[str]:
    """The fields of an object that is written out; those that the example lacks follow as comments."""
    for name, field in schema["properties"].items():
        at = f"{path}.{name}"
        is_item_or_linked = path.endswith("[]") or path in LINKED
        if name not in value and (at in told or is_item_or_linked):
            continue
        if at not in told and path not in LINKED:
            yield from _words(field, pad)
        told.add(at)
        if name in value:
            yield from _said(name, field, value[name], pad, at, told)
        else:
            yield from (f"{pad}# {line}" for line in _unsaid(name, field, field.get("default")))
    if path in LINKED:
        yield f"{pad}# ...  {LINKED[path]}"


def _said(name: str, field: Mapping[str, Any], value: Any, pad: str, at: str, told: set[str]) -> Iterator[str]:
    if isinstance(value, Mapping) and "properties" in field and value:
        yield f"{pad}{name}:"
        yield from _mapping(field, value, pad + "  ", at, told)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        yield f"{pad}{name}:"
        for item in value:
            yield from _dashed(list(_mapping(field["items"], item, pad + "  ", f"{at}[]", told)), pad)
        for left, inner in field["items"]["properties"].items():
            if f"{at}[].{left}" not in told and at not in LINKED and not any(at.startswith(f"{linked}.") for linked in LINKED):
                yield from _words(inner, pad + "  ")
                yield from (f"{pad}  # {line}" for line in _unsaid(left, inner, inner.get("default")))
    else:
        yield f"{pad}{name}: {json.dumps(value)}"


def _dashed(lines: list[str], pad: str) -> Iterator[str]:
    """The first line that is no comment gets the dash; comments above it stand before it."""
    first = next(i for i, line in enumerate(lines) if not line.lstrip().startswith("#"))
    yield from (f"{pad}{line.lstrip()}" for line in lines[:first])
    yield f"{pad}- {lines[first].lstrip()}"
    yield from lines[first + 1 :]


def _unsaid(name: str, field: Mapping[str, Any], default: Any) -> Iterator[str]:
    """A field that is commented out, all below it too."""
    if "properties" in field and name != "policy":
        yield f"{name}:"
        for inner, below in field["properties"].items():
            yield from (f"  {line.strip()}" for line in _words(below, "        "))
            chosen = (default or {}).get(inner, below.get("default"))
            yield from (f"  {line}" for line in _unsaid(inner, below, chosen))
    elif default is not None:
        yield f"{name}: {json.dumps(default)}"
    else:
        yield f"{name}: {LINKED['spec.rollout.policy'] if name == 'policy' else '...'}"


def _words(field: Mapping[str, Any], pad: str) -> list[str]:
    text = field.get("description", "")
    if "enum" in field:
        text += f" One of {', '.join(map(str, field['enum']))}."
    default = field.get("default")
    if default is not None and not isinstance(default, list | dict):
        text += f" [default: {json.dumps(default).strip(chr(34))}]"
    return [f"{pad}# {line}" for line in textwrap.wrap(text, WIDTH - len(pad) - 2)]


def rules(kind: str) -> str:
    """What is refused beyond types and bounds, as a table."""
    places: dict[str, list[str]] = {}
    for path, rule in _rules(schema_of(kind)["properties"]["spec"], "spec"):
        places.setdefault(rule["message"], []).append(f"`{path}{rule.get('fieldPath', '')}`")
    rows = [f"| {', '.join(dict.fromkeys(where))} | {message} |" for message, where in places.items()]
    return "\n".join(["| Where | What is said |", "| --- | --- |", *rows]) + "\n"


def _rules(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path in LINKED:
        return
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path, rule
    for name, field in schema.get("properties", {}).items():
        yield from _rules(field, f"{path}.{name}")
    if "items" in schema:
        yield from _rules(schema["items"], f"{path}[]")


def status(kind: str) -> str:
    """The status' own fields, as a table; what lies deeper is the operator's."""
    rows = ["| Field | What it says |", "| --- | --- |"]
    rows += [f"| `status.{n}` | {f['description']} |" for n, f in schema_of(kind)["properties"]["status"]["properties"].items()]
    return "\n".join(rows) + "\n"
