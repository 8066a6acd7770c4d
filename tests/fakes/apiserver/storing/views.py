"""How one stored object is seen: at another served version, as an event of the other group, as a Scale.

Objects are stored in one form for all versions of a resource; events of "" and events.k8s.io are the same objects.
"""

from typing import Any

from tests.fakes.apiserver.failures import bad_request
from tests.fakes.apiserver.storing.kinds import Kind, Scale

Json = dict[str, Any]
_EVENT_NAMES = {  # core -> events.k8s.io
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_BACK = {new: old for old, new in _EVENT_NAMES.items()}
EVENTS = "events.k8s.io"


def at_version(kind: Kind, stored: Json) -> Json:
    """A stored object as this version serves it (conversion strategy None: only apiVersion differs)."""
    if kind.group == EVENTS:
        stored = {_EVENT_NAMES.get(name, name): value for name, value in stored.items()}
    return stored if stored["apiVersion"] == kind.api_version else stored | {"apiVersion": kind.api_version}


def stored_form(kind: Kind, obj: Json) -> Json:
    """The inverse of `at_version`."""
    if kind.group == EVENTS:
        return {_BACK.get(name, name): value for name, value in obj.items()} | {"apiVersion": "v1"}
    if kind.custom and kind.storage_version != kind.version:
        return obj | {"apiVersion": f"{kind.group}/{kind.storage_version}"}
    return obj


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        obj = obj.get(name) if isinstance(obj, dict) else None
    return obj


def scale_of(kind: Kind, obj: Json) -> Json:
    """The autoscaling/v1 Scale of an object."""
    scale = kind.scale or Scale((), ())
    meta = {
        name: obj["metadata"][name]
        for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if name in obj["metadata"]
    }
    selector = _at(obj, scale.selector) if scale.selector else None
    if isinstance(selector, dict):
        selector = ",".join(f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items())
    replicas = _at(obj, scale.spec)
    status = {"replicas": _at(obj, scale.status) or 0} | ({"selector": selector} if selector else {})
    spec = {"replicas": replicas} if replicas else {}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status}


def scaled(kind: Kind, obj: Json, wanted: Json) -> Json:
    """An object with the replicas of a Scale; raises Refused (400) for a Scale without a number of them."""
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        raise bad_request(
            f'Scale in version "v1" cannot be handled as a Scale: spec.replicas is {replicas!r}, expected 0 or more'
        )
    path = (kind.scale or Scale((), ())).spec
    made: Json = dict(obj)
    at = made
    for name in path[:-1]:
        at[name] = dict(at.get(name) or {})
        at = at[name]
    at[path[-1]] = replicas
    sent = (wanted.get("metadata") or {}).get("resourceVersion")
    return made | {"metadata": made["metadata"] | ({"resourceVersion": sent} if sent else {})}
