"""Server-side apply and the accounts of field managers. Pure: objects in, objects out.

`track` accounts for an ordinary write; `apply` merges an applied configuration or raises the conflict. Both answer an
object whose metadata.managedFields are up to date. Follows structured-merge-diff/merge/update.go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.fakes.apiserver.failures import Cause, apply_conflict
from tests.fakes.apiserver.storing.fields import (
    Path,
    Paths,
    child,
    child_item,
    children,
    compare,
    element,
    from_fields_v1,
    is_atomic,
    ownable,
    owned_by_applying,
    to_fields_v1,
    written,
)
from tests.fakes.apiserver.storing.models import Schema
from tests.fakes.apiserver.storing.store import copied

Json = dict[str, Any]


@dataclass(frozen=True)
class Manager:
    """Who wrote, how: operation Apply or Update, at which API version and subresource ("" for the whole)."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


@dataclass(frozen=True)
class Account:
    manager: Manager
    fields: Paths
    time: str


def read(entries: Iterable[Mapping[str, Any]] | None) -> list[Account]:
    """Raises ValueError for entries that are not managed fields."""
    accounts = []
    for entry in entries or ():
        if entry.get("fieldsType") != "FieldsV1" or entry.get("operation") not in ("Apply", "Update"):
            raise ValueError(f"not a managed fields entry: {entry}")
        by = Manager(entry.get("manager", ""), entry["operation"], entry.get("apiVersion", ""), entry.get("subresource", ""))
        accounts.append(Account(by, from_fields_v1(entry.get("fieldsV1") or {}), entry.get("time", "")))
    return accounts


def _same(one: Manager, other: Manager) -> bool:
    return one == other or (one.operation == "Apply" and replace(one, api_version="") == replace(other, api_version=""))


def _with_accounts(obj: Json, accounts: Iterable[Account]) -> Json:
    entries = []
    ordered = sorted(accounts, key=lambda a: (a.manager.operation, a.time, a.manager.name))
    for account in ordered:
        by = account.manager
        entry = {"manager": by.name, "operation": by.operation, "apiVersion": by.api_version}
        entry |= {"time": account.time} if account.time else {}
        entry |= {"fieldsType": "FieldsV1", "fieldsV1": to_fields_v1(account.fields)}
        entries.append(entry | ({"subresource": by.subresource} if by.subresource else {}))
    meta = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return obj | {"metadata": meta | ({"managedFields": entries} if entries else {})}


def track(schema: Schema, live: Json | None, new: Json, by: Manager, now: str, ignored: Iterable[Path] = ()) -> Json:
    """Account for an ordinary write: changed fields now belong to `by` alone."""
    before = _accounts_for_update(live, new)
    if before is None:
        return _with_accounts(new, [])
    old = _bare(live) if live else {"metadata": {}, "apiVersion": new.get("apiVersion"), "kind": new.get("kind")}
    added, modified, removed = compare(schema, old, _bare(new))
    touched = ownable(added | modified, ignored)
    accounts, mine = [], Account(by, frozenset(), now)
    for account in before:
        if _same(account.manager, by):
            mine = account
        else:
            accounts.append(replace(account, fields=account.fields - touched - removed))
    fields = (mine.fields | touched) - removed
    accounts.append(replace(mine, fields=fields, time=now if fields != mine.fields or touched else mine.time))
    return _with_accounts(new, [account for account in accounts if account.fields])


def _accounts_for_update(live: Json | None, new: Json) -> list[Account] | None:
    """The accounts to go on from: the writer's, where sent and legible, else the live ones; None when reset by [{}]."""
    sent = new["metadata"].get("managedFields")
    if live and sent == [{}]:
        return None
    try:
        if sent:
            return read(sent)
    except (ValueError, AttributeError, TypeError):
        pass
    return read(live["metadata"].get("managedFields")) if live else []


def _bare(obj: Json) -> Json:
    return obj | {"metadata": {name: value for name, value in obj["metadata"].items() if name != "managedFields"}}


def apply(
    schema: Schema, live: Json | None, config: Json, by: Manager, now: str, *, force: bool, ignored: Iterable[Path] = ()
) -> Json:
    """Merge an applied configuration into the live object (None where there is none yet)."""
    ignored = tuple(ignored)
    start = _bare(live) if live else {"metadata": {}}
    before = read(live["metadata"].get("managedFields")) if live else []
    config = _bare(config)
    said = owned_by_applying(schema, config)
    taken = ownable(said, ignored)
    last = next((account for account in before if _same(account.manager, by)), None)
    others = [account for account in before if account is not last]
    merged = merge(schema, start, config)
    if last:
        keep = said.union(*(account.fields for account in others))
        merged = _pruned(schema, merged, last.fields, keep)
    added, modified, removed = compare(schema, start, merged)
    touched = ownable(added | modified, ignored)
    causes = [
        Cause("FieldManagerConflict", f"conflict with {_called(account)}", written(path))
        for account in sorted(others, key=lambda a: a.manager.name)
        for path in sorted(account.fields & touched)
    ]
    if causes and not force:
        raise apply_conflict(causes)
    kept = [replace(account, fields=account.fields - touched - removed) for account in others]
    if taken:
        same = last is not None and last.fields == taken and not touched and not removed
        kept.append(Account(by, taken, last.time if same and last else now))
    return _with_accounts(merged, [account for account in kept if account.fields])


def _called(account: Account) -> str:
    by = account.manager
    said = f'"{by.name}"' + (f' with subresource "{by.subresource}"' if by.subresource else "")
    if by.operation == "Apply":
        return said
    return f"{said} using {by.api_version}" + (f" at {account.time}" if account.time else "")


def merge(schema: Schema, live: Any, config: Any) -> Any:
    """The live value with the configuration laid over it; atomic values are replaced whole."""
    if is_atomic(schema, config) or is_atomic(schema, live) or type(live) is not type(config):
        return copied(config)
    if isinstance(config, dict):
        merged = dict(live)
        for name, item in config.items():
            merged[name] = merge(child(schema, name), live[name], item) if name in live else copied(item)
        return merged
    return _merged_list(schema, live, config)


def _merged_list(schema: Schema, live: list[Any], config: list[Any]) -> list[Any]:
    """Items in the configuration's order, each live item that it does not name kept where it stood."""
    there, named = {element(schema, item): item for item in live}, {element(schema, item): item for item in config}
    merged: list[Any] = []
    remaining = list(live)
    for key, item in named.items():
        while remaining and element(schema, remaining[0]) not in named:
            merged.append(remaining.pop(0))
        remaining = [one for one in remaining if element(schema, one) != key]
        merged.append(merge(child_item(schema), there[key], item) if key in there else copied(item))
    return [*merged, *(one for one in remaining if element(schema, one) not in named)]


def _pruned(schema: Schema, value: Any, dropped: Paths, keep: Iterable[Path]) -> Any:
    """Without the fields that this manager applied last time and nobody owns now."""
    kept = {path[:length] for path in keep for length in range(1, len(path) + 1)}
    gone = {
        path[:length] for path in dropped for length in range(1, len(path) + 1)
        if length == len(path) or path[length - 1][0] == "f"
    } - kept  # fmt: skip
    return _without(schema, value, gone, ())


def _without(schema: Schema, value: Any, gone: set[Path], path: Path) -> Any:
    if is_atomic(schema, value):
        return value
    left = [
        (name, item if name[0] == "v" else _without(inner, item, gone, (*path, name)))
        for name, inner, item in children(schema, value)
        if (*path, name) not in gone
    ]
    return {name[2:]: item for name, item in left} if isinstance(value, dict) else [item for _, item in left]
