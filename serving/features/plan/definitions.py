"""What the Feast registry says, as values: the input of the plan. Core; no Feast in it.

Types are Feast's ValueType names (FLOAT, INT64, STRING_LIST, ...)."""

from collections.abc import Mapping
from typing import Any

import msgspec

Default = float | int | bool | str


class JoinKey(msgspec.Struct, frozen=True):
    """A join key of a view. stored: its name in the online store. asked: its name in a request; they differ where a feature
    service maps join keys (`with_join_key_map`)."""

    stored: str
    asked: str
    type: str


class Feature(msgspec.Struct, frozen=True):
    """One feature of a view; default None means the type's zero."""

    name: str
    type: str
    default: Default | None = None


class StoredView(msgspec.Struct, frozen=True):
    """A view that is read from the online store.

    name: its prefix in feature names. storage: the name the store keeps it under. ttl_s: None means any age."""

    name: str
    storage: str
    keys: tuple[JoinKey, ...]
    features: tuple[Feature, ...]
    ttl_s: float | None


class Argument(msgspec.Struct, frozen=True):
    """A stored feature that a computed view works on; the transform knows it by `name` and by `view__name`."""

    view: str
    name: str


class ComputedView(msgspec.Struct, frozen=True):
    """An on-demand view. transform: `module:function`; None if the registry does not say (then it cannot be served)."""

    name: str
    fields: tuple[Feature, ...]
    arguments: tuple[Argument, ...]
    features: tuple[Feature, ...]
    transform: str | None
    parameters: Mapping[str, Any] = {}
    mode: str = "python"
    singleton: bool = False


class Service(msgspec.Struct, frozen=True):
    """A feature service. stored holds every view to read, also those only a computed view needs; order: its features."""

    name: str
    stored: tuple[StoredView, ...]
    computed: tuple[ComputedView, ...]
    order: tuple[str, ...]


class OnlineStore(msgspec.Struct, frozen=True):
    """Where the features are. type: sqlite, redis or whatever Feast calls it; path: of a SQLite file; url: of a Redis."""

    type: str
    path: str = ""
    url: str = ""


class Definitions(msgspec.Struct, frozen=True):
    """Everything that serving needs of one registry. problems: services that cannot be read, and why."""

    project: str
    key_version: int
    online: OnlineStore
    services: tuple[Service, ...]
    problems: Mapping[str, str] = {}
