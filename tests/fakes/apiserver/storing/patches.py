"""The patch languages: JSON merge patch (RFC 7386), JSON patch (RFC 6902) and Kubernetes' strategic merge patch."""

from typing import Any

from tests.fakes.apiserver.failures import Refused, bad_request
from tests.fakes.apiserver.storing.fields import child, child_item
from tests.fakes.apiserver.storing.models import Schema
from tests.fakes.apiserver.storing.store import copied

_DIRECTIVES = ("$patch", "$retainKeys", "$deleteFromPrimitiveList/", "$setElementOrder/")


def merge_patch(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copied(patch)
    merged = dict(value) if isinstance(value, dict) else {}
    for name, item in patch.items():
        if item is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), item)
    return merged


def json_patch(value: Any, operations: Any) -> Any:
    """Raises Refused: 400 for what is no patch, 422 for one that does not fit the object."""
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    value = copied(value)
    for operation in operations:
        try:
            value = _operate(value, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise Refused(422, "Invalid", "the server rejected our request due to an error in our request") from error
    return value


def _operate(value: Any, operation: dict[str, Any]) -> Any:
    op, path = operation["op"], _steps(operation["path"])
    if op == "test":
        if _at(value, path) != operation.get("value"):
            raise ValueError("test failed")
        return value
    if op in ("add", "replace"):
        return _put(value, path, copied(operation["value"]), add=op == "add")
    if op == "remove":
        return _take(value, path)
    source = _steps(operation["from"])
    moved = copied(_at(value, source))
    return (
        _put(_take(value, source) if op == "move" else value, path, moved, add=True) if op in ("move", "copy") else _unknown(op)
    )


def _unknown(op: str) -> Any:
    raise ValueError(f"unexpected kind of operation: {op}")


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(pointer)
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _at(value: Any, steps: list[str]) -> Any:
    for step in steps:
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _put(value: Any, steps: list[str], item: Any, *, add: bool) -> Any:
    if not steps:
        return item
    holder, last = _at(value, steps[:-1]), steps[-1]
    if isinstance(holder, list):
        index = len(holder) if last == "-" else int(last)
        if not 0 <= index <= len(holder) - (not add):
            raise IndexError(last)
        holder[index : index + (not add)] = [item]
    else:
        if not add and last not in holder:
            raise KeyError(last)
        holder[last] = item
    return value


def _take(value: Any, steps: list[str]) -> Any:
    holder, last = _at(value, steps[:-1]), steps[-1]
    del holder[int(last) if isinstance(holder, list) else last]
    return value


def strategic_patch(schema: Schema, value: Any, patch: Any) -> Any:
    """Like a merge patch, but keyed lists merge by their first key and $patch: delete|replace is obeyed."""
    if not isinstance(patch, dict) or not isinstance(value, dict):
        return _undirected(patch)
    if patch.get("$patch") == "replace":
        return _undirected(patch)
    if patch.get("$patch") == "delete":
        return {}
    merged = dict(value)
    if "$retainKeys" in patch:
        merged = {name: item for name, item in merged.items() if name in patch["$retainKeys"]}
    for name, item in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            merged[field] = [one for one in merged.get(field, []) if one not in item]
        elif name.startswith(_DIRECTIVES):
            continue
        elif item is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(child(schema, name), merged.get(name), item)
    return merged


def _merged(schema: Schema, value: Any, item: Any) -> Any:
    if isinstance(item, list) and isinstance(value, list) and schema.get("x-kubernetes-list-type") in ("map", "set"):
        return _merged_list(schema, value, item)
    return (
        strategic_patch(schema, value if isinstance(value, dict) else {}, item) if isinstance(item, dict) else _undirected(item)
    )


def _merged_list(schema: Schema, value: list[Any], patch: list[Any]) -> list[Any]:
    if schema["x-kubernetes-list-type"] == "set":
        return [*value, *(item for item in patch if item not in value)]
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return _undirected([item for item in patch if item.get("$patch") != "replace"])
    key, merged = schema["x-kubernetes-list-map-keys"][0], list(value)
    for item in patch:
        at = next((index for index, one in enumerate(merged) if one.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            merged = [one for one in merged if one.get(key) != item.get(key)]
        elif at is None:
            merged.append(_undirected(item))
        else:
            merged[at] = strategic_patch(child_item(schema), merged[at], item)
    return merged


def _undirected(patch: Any) -> Any:
    if isinstance(patch, dict):
        kept = {name: item for name, item in patch.items() if not name.startswith(_DIRECTIVES) and item is not None}
        return {name: _undirected(item) for name, item in kept.items()}
    return [_undirected(item) for item in patch if item is not None] if isinstance(patch, list) else patch
