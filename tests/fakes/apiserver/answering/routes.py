"""From a URL to what is asked: which kind, namespace, name, subresource and verb. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.fakes.apiserver.failures import method_not_allowed, no_such_path
from tests.fakes.apiserver.storing.kinds import Kind, Registry

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Route:
    kind: Kind
    namespace: str
    name: str
    subresource: str
    verb: str


def understood(kinds: Registry, method: str, path: str, query: Mapping[str, str]) -> Route:
    """Raises Refused: 404 for what is not served, 405 for a verb that does not fit."""
    parts = [part for part in path.split("/") if part]
    if parts[:2] == ["api", "v1"]:
        group, version, rest = "", "v1", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise no_such_path()
    watching = bool(rest) and rest[0] == "watch"
    rest = rest[1:] if watching else rest
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and kinds.find(group, version, rest[2]):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3:
        raise no_such_path()
    kind = kinds.find(group, version, rest[0])
    if kind is None or (namespace and not kind.namespaced):
        raise no_such_path()
    name, subresource = (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
    if kind.namespaced and name and not namespace:
        raise no_such_path()
    _subresource_served(kind, subresource)
    return Route(
        kind,
        namespace,
        name,
        subresource,
        _verb(kind, method, name, subresource, watching or query.get("watch") in ("1", "true")),
    )


def _subresource_served(kind: Kind, subresource: str) -> None:
    served = {
        "": True,
        "status": kind.status,
        "scale": kind.scale is not None,
        "finalize": kind.kind == "Namespace",
        "token": kind.kind == "ServiceAccount",
    }
    if not served.get(subresource, False):
        raise no_such_path()


def _verb(kind: Kind, method: str, name: str, subresource: str, watching: bool) -> str:
    verb = _VERBS.get(method)
    if verb is None:
        raise method_not_allowed()
    if verb == "get" and watching and not subresource:
        verb = "watch"
    elif not name and verb in ("get", "delete"):
        verb = {"get": "list", "delete": "deletecollection"}[verb]
    fits = (
        bool(name)
        if verb in ("update", "patch", "get", "delete")
        else (not name or subresource == "token")
        if verb == "create"
        else True
    )
    if not fits or (not subresource and verb not in kind.verbs) or (subresource and verb in ("delete", "watch")):
        raise method_not_allowed()
    return verb
