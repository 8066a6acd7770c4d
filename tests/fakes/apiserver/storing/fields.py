"""Sets of fields, as server-side apply keeps them: which leaves, list items and containers a manager owns.

A path is a tuple of elements as FieldsV1 writes them: "f:spec", 'k:{"name":"x"}', 'v:"x"'. Follows
sigs.k8s.io/structured-merge-diff; objects are walked together with their schema, which says what is atomic.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.fakes.apiserver.storing.models import META, Schema, node

Path = tuple[str, ...]
Paths = frozenset[Path]
UNKNOWN: Schema = {}
_ROOT = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": META}
_NEVER_OWNED: tuple[Path, ...] = (
    ("f:apiVersion",), ("f:kind",), ("f:metadata",), *(("f:metadata", f"f:{name}") for name in (
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion")),
)  # fmt: skip


def rooted(schema: Schema | None) -> Schema:
    """A kind's schema with the fields that every object has; without a schema, every map is open and every list atomic."""
    schema = node(schema or {})
    return {**schema, "type": "object", "properties": {**schema.get("properties", {}), **_ROOT}}


def child(schema: Schema, name: str) -> Schema:
    inner = schema.get("properties", {}).get(name)
    if inner is None and isinstance(more := schema.get("additionalProperties"), dict):
        inner = more
    return node(inner) if inner is not None else UNKNOWN


def is_atomic(schema: Schema, value: Any) -> bool:
    if isinstance(value, dict):
        return schema.get("x-kubernetes-map-type") == "atomic"
    return not isinstance(value, list) or schema.get("x-kubernetes-list-type") not in ("map", "set")


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def element(schema: Schema, item: Any) -> str:
    """The path element of one item of an associative list; a key left out has the schema's default."""
    if schema.get("x-kubernetes-list-type") == "set":
        return f"v:{compact(item)}"
    inner = child_item(schema)
    keys = {}
    for name in schema.get("x-kubernetes-list-map-keys", ()):
        value = item.get(name, child(inner, name).get("default")) if isinstance(item, dict) else None
        if value is not None:
            keys[name] = value
    return f"k:{compact(keys)}"


def child_item(schema: Schema) -> Schema:
    return node(schema.get("items", UNKNOWN))


def children(schema: Schema, value: Any) -> Iterator[tuple[str, Schema, Any]]:
    """What lies below a granular value, with the path element that leads there."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"f:{name}", child(schema, name), inner
    else:
        for item in value:
            yield element(schema, item), child_item(schema), item


def owned_by_applying(schema: Schema, value: Any) -> Paths:
    """The fields that an applied configuration takes: its leaves, and the items of keyed lists themselves."""
    return frozenset(_leaves(schema, value, ()))


def _leaves(schema: Schema, value: Any, path: Path) -> Iterator[Path]:
    if is_atomic(schema, value) or not value:
        yield path
        return
    for name, inner, item in children(schema, value):
        at = (*path, name)
        if name[0] == "k":
            yield at
        yield from _leaves(inner, item, at) if name[0] != "v" else [at]


def everything(schema: Schema, value: Any, path: Path = ()) -> Iterator[Path]:
    """A value's own path and all below it."""
    yield path
    if not is_atomic(schema, value):
        for name, inner, item in children(schema, value):
            yield from everything(inner, item, (*path, name)) if name[0] != "v" else [(*path, name)]


def compare(schema: Schema, old: Any, new: Any, path: Path = ()) -> tuple[set[Path], set[Path], set[Path]]:
    """Fields that were added, modified and removed."""
    if is_atomic(schema, old) or is_atomic(schema, new) or type(old) is not type(new):
        return (set(), set(), set()) if old == new and type(old) is type(new) else (set(), {path}, set())
    added: set[Path] = set()
    modified: set[Path] = set()
    removed: set[Path] = set()
    before = {name: (inner, item) for name, inner, item in children(schema, old)}
    after = {name: (inner, item) for name, inner, item in children(schema, new)}
    for name in before.keys() | after.keys():
        at = (*path, name)
        if name not in before:
            added.update(everything(*after[name], at) if name[0] != "v" else [at])
        elif name not in after:
            removed.update(everything(*before[name], at) if name[0] != "v" else [at])
        elif name[0] != "v":
            for into, found in zip(
                (added, modified, removed), compare(after[name][0], before[name][1], after[name][1], at), strict=True
            ):
                into.update(found)
    return added, modified, removed


def ownable(paths: Iterable[Path], ignored: Iterable[Path] = ()) -> Paths:
    """Without what nobody owns (names, versions) and without subtrees reset at this endpoint."""
    reset = tuple(ignored)
    return frozenset(p for p in paths if p and p not in _NEVER_OWNED and not any(p[: len(r)] == r for r in reset))


def to_fields_v1(paths: Iterable[Path]) -> dict[str, Any]:
    """A set as the tree that metadata.managedFields holds; "." marks a container that is owned itself."""
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        at = tree
        for name in path:
            at = at.setdefault(name, {})
        at["."] = {}
    return {name: _trimmed(inner) for name, inner in tree.items()}


def _trimmed(tree: dict[str, Any]) -> dict[str, Any]:
    return {} if tree.keys() == {"."} else {name: inner if name == "." else _trimmed(inner) for name, inner in tree.items()}


def from_fields_v1(tree: Mapping[str, Any], path: Path = ()) -> Paths:
    """Raises ValueError for what is not a tree of fields."""
    if not isinstance(tree, Mapping) or any(name != "." and name[:2] not in ("f:", "k:", "v:", "i:") for name in tree):
        raise ValueError(f"not a FieldsV1 tree at {path}")
    found: set[Path] = set()
    for name, inner in tree.items():
        if name == ".":
            found.add(path)
        elif not inner:
            found.add((*path, name))
        else:
            found |= from_fields_v1(inner, (*path, name))
    return frozenset(found)


def written(path: Path) -> str:
    """A path as conflicts name it: .spec.containers[name="x"].image."""
    parts = []
    for name in path:
        if name[0] == "f":
            parts.append(f".{name[2:]}")
        elif name[0] == "k":
            parts.append("[" + ",".join(f"{k}={compact(v)}" for k, v in json.loads(name[2:]).items()) + "]")
        else:
            parts.append(f"[{name[2:]}]" if name[0] == "i" else f"[={name[2:]}]")
    return "".join(parts)
