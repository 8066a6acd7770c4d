"""Paths to endpoints, by hand: split, look, done. A path seen before is one dictionary look-up.

Pure: knows which paths exist. serving.doors.http.door answers them; which models exist is not known here."""

from enum import Enum
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from serving.errors import NotFound, ServingError, Unsupported

REMEMBERED: Final = 4096
"""Paths remembered; beyond it the memory is cleared, so that clients cannot fill it."""
REMEMBERED_BYTES: Final = 512
"""Longest path that is remembered: a client may send 64 KiB of path with each request."""


class Endpoint(Enum):
    """Everything the HTTP door answers."""

    INDEX = "/"
    METRICS = "/metrics"
    OPENAPI = "/openapi.json"
    SERVER = "/v2"
    LIVE = "/v2/health/live"
    READY = "/v2/health/ready"
    MODELS = "/v2/models"
    MODEL = "/v2/models/{model}"
    MODEL_READY = "/v2/models/{model}/ready"
    INFER = "/v2/models/{model}/infer"
    STATISTICS = "/v2/models/{model}/stats"
    ALL_STATISTICS = "/v2/models/stats"
    REPOSITORY_INDEX = "/v2/repository/index"
    RISKS = "/v2/risk"
    RISK = "/v2/risk/{entity}"
    LOAD = "/v2/repository/models/{model}/load"
    UNLOAD = "/v2/repository/models/{model}/unload"
    V1_MODELS = "/v1/models"
    V1_MODEL = "/v1/models/{model}"
    V1_METADATA = "/v1/models/{model}/metadata"
    V1_PREDICT = "/v1/models/{model}:predict"
    V1_EXPLAIN = "/v1/models/{model}:explain"

    __hash__ = object.__hash__  # members are equal if they are the same; Enum's own hash is a call of Python for every request


class Target(NamedTuple):
    """What a path means. model: of a risk, the entity. version: None where the path has none."""

    endpoint: Endpoint
    model: str = ""
    version: str | None = None


_EXACT: Final = {
    endpoint.value: Target(endpoint) for endpoint in Endpoint if "{" not in endpoint.value and endpoint is not Endpoint.INDEX
}
_MODEL_PARTS: Final = {"ready": Endpoint.MODEL_READY, "infer": Endpoint.INFER, "stats": Endpoint.STATISTICS}
_REPOSITORY_PARTS: Final = {"load": Endpoint.LOAD, "unload": Endpoint.UNLOAD}
_V1_VERBS: Final = {"predict": Endpoint.V1_PREDICT, "explain": Endpoint.V1_EXPLAIN}
_EXTENSIONS: Final = {
    "config": "ask for the model's metadata instead",
    "trace": "send a traceparent header to have a request traced",
    "generate": "use infer",
    "generate_stream": "use infer",
}
_SERVER_EXTENSIONS: Final = frozenset({"logging", "trace", "systemsharedmemory", "cudasharedmemory"})


class Router:
    """Resolves raw paths (bytes as they came, percent-encoded)."""

    def __init__(self) -> None:
        self._seen: dict[bytes, Target] = {}

    def find(self, raw_path: bytes) -> Target:
        """What the path means. Raises NotFound, or Unsupported for a protocol extension that is not offered."""
        target = self._seen.get(raw_path)
        if target is None:
            target = resolve(raw_path)
            if len(raw_path) > REMEMBERED_BYTES:
                return target
            if len(self._seen) >= REMEMBERED:
                self._seen.clear()
            self._seen[raw_path] = target
        return target


def resolve(raw_path: bytes) -> Target:
    """One path, without memory. A trailing slash is the same path; an encoded slash is part of a name."""
    path = raw_path[:-1] if raw_path.endswith(b"/") else raw_path
    if not path:
        return Target(Endpoint.INDEX)
    parts = [unquote_to_bytes(part).decode("utf-8", "replace") for part in path.split(b"/")[1:]]
    target = _EXACT.get(f"/{'/'.join(parts)}")
    if target is not None:
        return target
    match parts:
        case ["v2", "models", model, *rest] if model:
            return _model(path, model, rest)
        case ["v2", "risk", entity] if entity:
            return Target(Endpoint.RISK, entity)
        case ["v2", "repository", "models", model, verb] if model and verb in _REPOSITORY_PARTS:
            return Target(_REPOSITORY_PARTS[verb], model)
        case ["v1", "models", *rest] if rest and rest[0]:
            return _v1(path, rest)
        case ["v2", extension, *_] if extension in _SERVER_EXTENSIONS:
            raise Unsupported(f"the {extension} extension is not offered; GET /v2 lists the extensions of this server")
    raise _unknown(path)


def _model(path: bytes, model: str, rest: list[str]) -> Target:
    version = None
    if rest and rest[0] == "versions":
        if len(rest) < 2 or not rest[1]:
            raise _unknown(path)
        version, rest = rest[1], rest[2:]
    if not rest:
        return Target(Endpoint.MODEL, model, version)
    if len(rest) == 1 and rest[0] in _MODEL_PARTS:
        return Target(_MODEL_PARTS[rest[0]], model, version)
    if rest[0] in _EXTENSIONS:
        raise Unsupported(f"{rest[0]} of a model is not offered; {_EXTENSIONS[rest[0]]}")
    raise _unknown(path)


def _v1(path: bytes, rest: list[str]) -> Target:
    *before, last = rest
    name, colon, verb = last.rpartition(":")
    endpoint = Endpoint.V1_MODEL
    if colon and verb in _V1_VERBS:
        rest, endpoint = [*before, name], _V1_VERBS[verb]
    elif colon and verb in {"classify", "regress"}:
        raise Unsupported(f":{verb} is not offered; use :predict")
    elif last == "metadata" and before:
        rest, endpoint = before, Endpoint.V1_METADATA
    match rest:
        case [model] if model:
            return Target(endpoint, model)
        case [model, "versions", version] if model and version:
            return Target(endpoint, model, version)
    raise _unknown(path)


def _unknown(path: bytes) -> ServingError:
    shown = path[:120].decode("latin-1")
    return NotFound(f"no such path: {shown}; GET /openapi.json describes the paths of this server")


def split_url(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a URL in absolute form, or with a fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, b""
    return parts.path or b"/", parts.query
