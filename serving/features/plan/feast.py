"""The one user of Feast in the data plane: reads a registry, in a process of its own, and says what is in it.

Importing Feast takes six seconds and 300 MB, and its registry holds pickled functions. So a child process reads the registry's
protobuf messages (0.3 s, nothing unpickled, Feast's own code not even imported) and prints Definitions as JSON; the serving
process never imports Feast. A registry that is not a local file (SQL, S3, ...) is read by Feast itself, in that same child.

    python -m serving.features.plan.feast FOLDER      # the folder of feature_store.yaml"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
import yaml

from serving.features.plan.definitions import (
    Argument,
    ComputedView,
    Definitions,
    Feature,
    JoinKey,
    OnlineStore,
    Service,
    StoredView,
)
from serving.features.plan.errors import RegistryError
from serving.files.safe_yaml import read_yaml

CONFIGURATION: Final = "feature_store.yaml"
_TIMEOUT_S: Final = 120.0
_SETTLE_S: Final = 0.02
_LOOKS: Final = 50
_CHILD: Final = "import os, sys; os.nice(10); from serving.features.plan.feast import main; raise SystemExit(main(sys.argv[1]))"
"""Polite from its first import on: who answers requests on this machine goes first."""
_DUMMY: Final = "__dummy_id"
"""Join key of views without an entity; its value is the empty text."""


def load(folder: Path) -> Definitions:
    """Read the registry that `folder` configures, in a child process. Raises RegistryError."""
    command = [sys.executable, "-c", _CHILD, str(folder.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, cwd=Path(__file__).parents[3], check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RegistryError(f"{folder}: the registry cannot be read: {error}") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise RegistryError(f"{folder}: the registry cannot be read: {lines[-1]}")
    return msgspec.json.decode(done.stdout, type=Definitions)


def signature(folder: Path) -> tuple[object, ...] | None:
    """Changes when the configuration or a local registry does; None while there is no configuration or nothing was applied."""
    try:
        configuration = (folder / CONFIGURATION).read_bytes()
        path = _local_registry(folder, configuration)
        stat = path.stat() if path is not None else None
    except OSError:
        return None
    except (yaml.YAMLError, RegistryError):
        return (configuration, "unreadable")  # `load` says what is wrong
    return (configuration, None if stat is None else (stat.st_mtime_ns, stat.st_size, stat.st_ino))


@lru_cache(maxsize=8)
def _local_registry(folder: Path, configuration: bytes) -> Path | None:
    """Parsed once: YAML takes milliseconds, in which the thread that looks for changes would hold up the event loop."""
    return _registry_path(folder, read_yaml(configuration))


def is_local(seen: tuple[object, ...]) -> bool:
    """Whether a signature tells that nothing changed; that of a registry elsewhere does not."""
    return seen[1] is not None


def read(folder: Path) -> Definitions:
    """Read the registry that `folder` configures, in this process. Raises RegistryError."""
    try:
        text = os.path.expandvars((folder / CONFIGURATION).read_text(encoding="utf-8"))  # as Feast does
        configuration = read_yaml(text)
        path = _registry_path(folder, configuration)
        registry = _messages(read_when_settled(path)) if path is not None else _through_feast(folder)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RegistryError(f"{folder / CONFIGURATION}: {error}") from error
    return describe(registry, configuration, folder)


def _registry_path(folder: Path, configuration: Any) -> Path | None:
    """Path of a registry that is a local file; None for any other kind."""
    if not isinstance(configuration, dict) or "project" not in configuration:
        raise RegistryError(f"{folder / CONFIGURATION} names no project")
    registry = configuration.get("registry", "registry.db")
    if isinstance(registry, dict):
        if registry.get("registry_type", "file") != "file":
            return None
        registry = registry.get("path", "registry.db")
    if not isinstance(registry, str):
        raise RegistryError(f"{folder / CONFIGURATION}: registry is {registry!r}, expected the path of a file")
    return None if "://" in registry else folder / registry


def read_when_settled(path: Path) -> bytes:
    """A registry file as it is while nobody writes it. Feast empties the file and then fills it again: what is read in between is empty or
    cut off, and may well be a registry, of fewer services. Raises RegistryError, OSError."""
    for _ in range(_LOOKS):
        before, raw = path.stat(), path.read_bytes()
        time.sleep(_SETTLE_S)
        after = path.stat()
        if raw and len(raw) == after.st_size and before.st_mtime_ns == after.st_mtime_ns:
            return raw
    raise RegistryError(
        f"the registry file {path.name} is empty or is being written all the time; apply the feature repository again"
    )


def _messages(raw: bytes) -> Any:
    """Parse a registry file with Feast's generated messages, without running `feast/__init__`, which imports the world."""
    if "feast" not in sys.modules:
        from importlib.util import find_spec, module_from_spec

        spec = find_spec("feast")
        if spec is None:
            raise RegistryError("Feast is not installed")
        sys.modules["feast"] = module_from_spec(spec)  # the package's path, nothing of its code
    from feast.protos.feast.core.Registry_pb2 import Registry
    from google.protobuf.message import DecodeError

    registry = Registry()
    try:
        registry.ParseFromString(raw)
    except DecodeError as error:
        raise RegistryError(f"the registry file is damaged: {error}") from error
    return registry


def _through_feast(folder: Path) -> Any:
    from feast import FeatureStore

    return FeatureStore(repo_path=str(folder)).registry.proto()


def describe(registry: Any, configuration: Mapping[str, Any], folder: Path) -> Definitions:
    """Registry messages -> Definitions. A service that cannot be read is a problem of its own, not of the others."""
    project = configuration["project"]
    views = {v.spec.name: v for v in (*registry.feature_views, *registry.stream_feature_views) if v.spec.project == project}
    computed = {v.spec.name: v for v in registry.on_demand_feature_views if v.spec.project == project}
    settings = configuration.get("registry")
    versioned = isinstance(settings, dict) and bool(settings.get("enable_online_feature_view_versioning"))
    services, problems = [], {}
    for message in registry.feature_services:
        if message.spec.project != project:
            continue
        try:
            services.append(_service(message.spec, views, computed, versioned=versioned))
        except RegistryError as error:
            problems[message.spec.name] = error.message
    online = _online(configuration.get("online_store"), folder)
    return Definitions(project, configuration.get("entity_key_serialization_version", 3), online, tuple(services), problems)


def _online(configuration: Any, folder: Path) -> OnlineStore:
    if not isinstance(configuration, dict):
        configuration = {"type": configuration or "sqlite"}
    kind = str(configuration.get("type", "sqlite"))
    if kind == "redis":
        return OnlineStore(kind, url=redis_url(configuration))
    return OnlineStore(kind, path=str(folder / configuration.get("path", "data/online.db")))


def redis_url(configuration: Mapping[str, Any]) -> str:
    """A URL (see stores.addresses) from Feast's way of writing a Redis: `connection_string` (`host:port,db=0,password=...`), `redis_type`
    and `sentinel_master`. Raises RegistryError.

    >>> redis_url({"redis_type": "redis_sentinel", "connection_string": "s1:26379,s2:26379,password=x", "sentinel_master": "m"})
    'redis+sentinel://:x@s1:26379,s2:26379/m/0'
    """
    parts = str(configuration.get("connection_string", "localhost:6379")).split(",")
    options = dict(part.split("=", 1) for part in parts if "=" in part)
    hosts = [part for part in parts if "=" not in part]
    scheme = "rediss" if options.get("ssl", "").lower() == "true" else "redis"
    user, password = quote(options.get("username", ""), safe=""), quote(options.get("password", ""), safe="")
    login = f"{user}:{password}@" if password else ""
    match configuration.get("redis_type", "redis"):
        case "redis":
            return f"{scheme}://{login}{parts[0]}/{options.get('db', 0)}"
        case "redis_cluster":
            replicas = "?read_from_replicas=true" if options.get("read_from_replicas", "").lower() == "true" else ""
            return f"{scheme}+cluster://{login}{','.join(hosts)}{replicas}"
        case "redis_sentinel":
            master = quote(str(configuration.get("sentinel_master", "mymaster")), safe="")
            return f"{scheme}+sentinel://{login}{','.join(hosts)}/{master}/{options.get('db', 0)}{_of_sentinels(options)}"
        case other:
            raise RegistryError(f"online_store.redis_type is {other!r}, expected redis, redis_cluster or redis_sentinel")


def _of_sentinels(options: Mapping[str, str]) -> str:
    """Feast hands `sentinel_kwargs={"password": "..."}` to the client: the sentinels' own login."""
    try:
        own = json.loads(options.get("sentinel_kwargs", "{}"))
        named = {f"sentinel_{name}": str(own[name]) for name in ("username", "password") if name in own}
    except (ValueError, TypeError) as problem:
        raise RegistryError(
            "online_store.connection_string: sentinel_kwargs is no JSON object of one entry, which is all that Feast can read; set "
            "VEDETTE_REDIS_URL=redis+sentinel://... instead"
        ) from problem
    if own.get("ssl"):
        named["sentinel_ssl"] = "true"
    return f"?{urlencode(named)}" if named else ""


def _service(spec: Any, views: Mapping[str, Any], computed: Mapping[str, Any], *, versioned: bool) -> Service:
    stored: dict[str, StoredView] = {}
    on_demand: dict[str, ComputedView] = {}
    order: list[str] = []
    for projection in spec.features:
        name = projection.feature_view_name_alias or projection.feature_view_name
        order.extend(f"{name}__{feature.name}" for feature in projection.feature_columns)
        if projection.feature_view_name in computed and not computed[projection.feature_view_name].spec.write_to_online_store:
            on_demand[name] = _computed(computed[projection.feature_view_name].spec, name, projection)
            for source in computed[projection.feature_view_name].spec.sources.values():
                if source.WhichOneof("source") == "feature_view_projection":
                    _merge(stored, _stored(source.feature_view_projection, views, computed, versioned=versioned))
        else:
            _merge(stored, _stored(projection, views, computed, versioned=versioned))
    return Service(spec.name, tuple(stored.values()), tuple(on_demand.values()), tuple(order))


def _merge(stored: dict[str, StoredView], view: StoredView) -> None:
    """Add a view, or its further features."""
    known = stored.get(view.name)
    if known is not None:
        have = {feature.name for feature in known.features}
        view = msgspec.structs.replace(known, features=known.features + tuple(f for f in view.features if f.name not in have))
    stored[view.name] = view


def _stored(projection: Any, views: Mapping[str, Any], computed: Mapping[str, Any], *, versioned: bool) -> StoredView:
    name = projection.feature_view_name
    found = views.get(name) or computed.get(name)
    if found is None:
        raise RegistryError(f"feature view {name!r} is not registered")
    spec, storage = found.spec, name
    if versioned:
        version = projection.version_tag if projection.HasField("version_tag") else found.meta.current_version_number
        storage = f"{name}_v{version}" if version > 0 else name
    by_name = {feature.name: feature for feature in spec.features}
    tags = {column.name: dict(by_name[column.name].tags) for column in projection.feature_columns if column.name in by_name}
    join_keys = dict(projection.join_key_map)
    keys = tuple(
        JoinKey(column.name, "" if column.name == _DUMMY else join_keys.get(column.name, column.name), _type(column))
        for column in spec.entity_columns
    )
    ttl_s = spec.ttl.seconds + spec.ttl.nanos / 1e9 if hasattr(spec, "ttl") else 0.0
    return StoredView(
        name=projection.feature_view_name_alias or name,
        storage=storage,
        keys=keys,
        features=tuple(Feature(c.name, _type(c), _default(tags.get(c.name, {}), c.name)) for c in projection.feature_columns),
        ttl_s=ttl_s or None,
    )


def _computed(spec: Any, name: str, projection: Any) -> ComputedView:
    fields: list[Feature] = []
    arguments: list[Argument] = []
    for source in spec.sources.values():
        if source.WhichOneof("source") == "request_data_source":
            fields.extend(Feature(field.name, _type(field)) for field in source.request_data_source.request_data_options.schema)
        elif source.WhichOneof("source") == "feature_view_projection":
            inner = source.feature_view_projection
            view = inner.feature_view_name_alias or inner.feature_view_name
            arguments.extend(Argument(view, column.name) for column in inner.feature_columns)
        else:
            raise RegistryError(f"on-demand view {spec.name!r} has a source that is neither a request nor a feature view")
    tags = dict(spec.tags)
    defaults = json.loads(tags.get("defaults", "{}"))
    return ComputedView(
        name=name,
        fields=tuple(fields),
        arguments=tuple(arguments),
        features=tuple(Feature(c.name, _type(c), defaults.get(c.name)) for c in projection.feature_columns),
        transform=tags.get("transform"),
        parameters=json.loads(tags.get("parameters", "{}")),
        mode=spec.mode or "pandas",
        singleton=spec.singleton,
    )


_BYTES_LIKE: Final = (30, 31)
"""PDF_BYTES and IMAGE_BYTES: in Feast's Python, not in its messages."""


def _type(field: Any) -> str:
    """Feast's name of a field's type."""
    from feast.protos.feast.types.Value_pb2 import ValueType

    if field.value_type in _BYTES_LIKE:
        return "BYTES"
    try:
        return str(ValueType.Enum.Name(field.value_type))
    except ValueError as error:
        raise RegistryError(f"feature {field.name!r} has type number {field.value_type}, which is unknown") from error


def _default(tags: Mapping[str, str], name: str) -> Any:
    if "default" not in tags:
        return None
    try:
        default = json.loads(tags["default"])
    except (ValueError, RecursionError) as error:  # a number of too many digits; nested without end
        raise RegistryError(f"feature {name!r}: its tag default is {tags['default']!r:.60}, expected JSON ({error})") from error
    if not isinstance(default, (float, int, bool, str)):
        raise RegistryError(f"feature {name!r}: its tag default is {tags['default']}, expected a number, true, false or a text")
    return default


def main(folder: str) -> int:
    """Print the definitions of a folder as JSON; what is wrong goes to stderr."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(read(Path(folder))))
    except RegistryError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
