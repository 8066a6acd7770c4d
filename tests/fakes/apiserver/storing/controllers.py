"""What runs beside the API: CRDs become kinds, owners' dependents are collected, deleted namespaces are emptied.

The first is the API server's own; the others are the controller manager's.
"""

import asyncio
from typing import Any

from tests.fakes.apiserver.admitting import definitions
from tests.fakes.apiserver.storing.kinds import EXTENSIONS, Resource
from tests.fakes.apiserver.storing.objects import now_text
from tests.fakes.apiserver.storing.store import Change, Key, Store, copied
from tests.fakes.apiserver.storing.writes import Writer

Json = dict[str, Any]
DEFINITIONS: Resource = (EXTENSIONS, "customresourcedefinitions")
NAMESPACES: Resource = ("", "namespaces")


class Controllers:
    """Follows the store. Collecting runs in the event loop soon after a write, never within it."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.store = writer, writer.store
        self._uids: dict[str, tuple[Resource, Key]] = {}
        self._owned: dict[str, set[tuple[Resource, Key]]] = {}
        self._scheduled = False
        self.store.after_write.append(self._seen)

    def _seen(self, resource: Resource, key: Key, change: Change) -> None:
        if resource == DEFINITIONS:
            self._serve(key, change)
        meta = change.after["metadata"]
        if change.type == "DELETED":
            self._uids.pop(meta["uid"], None)
        else:
            self._uids[meta["uid"]] = (resource, key)
        for owner in meta.get("ownerReferences") or ():
            dependents = self._owned.setdefault(owner["uid"], set())
            dependents.discard((resource, key)) if change.type == "DELETED" else dependents.add((resource, key))
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._collect)

    def _serve(self, key: Key, change: Change) -> None:
        definition = change.after
        resource = definitions.resource_of(definition)
        kinds = self.writer.kinds
        if change.type == "DELETED":
            kinds.remove(resource)
            self.store.drop_watches(resource)
            return
        fresh = not kinds.of(resource)
        kinds.remove(resource)
        for kind in definitions.served(definition):
            kinds.add(kind)
        if fresh:
            self.store.begin(resource)
        status = definitions.status_of(definition, now_text())
        if definition.get("status") != status:
            asyncio.get_running_loop().call_soon(self._establish, key, status)

    def _establish(self, key: Key, status: Json) -> None:
        definition = self.store.get(DEFINITIONS, key)
        if definition and definition.get("status") != status:
            self.store.put(DEFINITIONS, key, definition | {"status": status})

    def _finish_definitions(self) -> None:
        for key, definition in list(self.store.items(DEFINITIONS)):
            if definition["metadata"].get("deletionTimestamp"):
                resource = definitions.resource_of(definition)
                for one, _ in list(self.store.items(resource)):
                    self._delete(resource, one)
                if not any(self.store.items(resource)):
                    self._unfinalize(DEFINITIONS, key, definitions.CLEANUP)

    def _collect(self) -> None:
        self._scheduled = False
        self._finish_definitions()
        for uid in [uid for uid in self._owned if uid not in self._uids]:
            for resource, key in list(self._owned.get(uid, ())):
                self._forsake(resource, key)
        for resource in self.store.resources():
            for key, obj in list(self.store.items(resource)):
                if obj["metadata"].get("deletionTimestamp"):
                    self._finish(resource, key, obj)

    def _forsake(self, resource: Resource, key: Key) -> None:
        """Delete a dependent all of whose owners are gone; else only its reference to the gone ones."""
        obj = self.store.get(resource, key)
        owners = (obj or {"metadata": {}})["metadata"].get("ownerReferences") or []
        left = [owner for owner in owners if owner["uid"] in self._uids]
        for owner in owners:
            if owner not in left:
                self._owned.get(owner["uid"], set()).discard((resource, key))
        if obj is None or not owners:
            return
        if not left:
            self._delete(resource, key)
        elif len(left) < len(owners):
            self.store.put(resource, key, obj | {"metadata": obj["metadata"] | {"ownerReferences": left}})

    def _delete(self, resource: Resource, key: Key) -> None:
        obj = self.store.get(resource, key)
        if obj is None:
            return
        if not obj["metadata"].get("finalizers"):
            self.store.remove(resource, key)
        elif not obj["metadata"].get("deletionTimestamp"):
            marked = obj["metadata"] | {"deletionTimestamp": now_text(), "deletionGracePeriodSeconds": 0}
            self.store.put(resource, key, obj | {"metadata": marked})

    def _finish(self, resource: Resource, key: Key, obj: Json) -> None:
        finalizers = obj["metadata"].get("finalizers") or []
        dependents = [(one, at) for one, at in self._owned.get(obj["metadata"]["uid"], ()) if self.store.get(one, at)]
        if "orphan" in finalizers:
            for one, at in dependents:
                self._disown(one, at, obj["metadata"]["uid"])
            self._unfinalize(resource, key, "orphan")
        if "foregroundDeletion" in finalizers:
            for one, at in dependents:
                self._delete(one, at)
            if not any(self._blocks(one, at, obj["metadata"]["uid"]) for one, at in dependents):
                self._unfinalize(resource, key, "foregroundDeletion")
        if resource == NAMESPACES:
            self._empty(key, obj)

    def _blocks(self, resource: Resource, key: Key, uid: str) -> bool:
        there = self.store.get(resource, key)
        return bool(there) and any(
            o["uid"] == uid and o.get("blockOwnerDeletion") for o in there["metadata"].get("ownerReferences") or ()
        )  # type: ignore[index]

    def _disown(self, resource: Resource, key: Key, uid: str) -> None:
        obj = self.store.get(resource, key)
        if obj is not None:
            left = [owner for owner in obj["metadata"]["ownerReferences"] if owner["uid"] != uid]
            meta = {name: value for name, value in obj["metadata"].items() if name != "ownerReferences"} | (
                {"ownerReferences": left} if left else {}
            )
            self._owned.get(uid, set()).discard((resource, key))
            self.store.put(resource, key, obj | {"metadata": meta})

    def _unfinalize(self, resource: Resource, key: Key, finalizer: str) -> None:
        obj = self.store.get(resource, key)
        if obj is None or finalizer not in (obj["metadata"].get("finalizers") or ()):
            return
        left = [one for one in obj["metadata"]["finalizers"] if one != finalizer]
        changed = copied(obj)
        changed["metadata"]["finalizers"] = left
        self.store.put(resource, key, changed)
        if not left:
            self.store.remove(resource, key)

    def _empty(self, key: Key, obj: Json) -> None:
        name = key[1]
        for resource in self.store.resources():
            for one, _ in list(self.store.items(resource, name)):
                self._delete(resource, one)
        if not any(True for resource in self.store.resources() for _ in self.store.items(resource, name)):
            if obj["metadata"].get("finalizers"):
                self.store.put(NAMESPACES, key, obj | {"spec": {}})
            elif self.store.get(NAMESPACES, key) is not None:
                self.store.remove(NAMESPACES, key)


def start_with(store: Store, resource: Resource, obj: Json, uid: str) -> None:
    """Put an object that every cluster starts with."""
    meta = obj["metadata"] | {"uid": uid, "creationTimestamp": now_text()}
    store.put(resource, (meta.get("namespace", ""), meta["name"]), obj | {"metadata": meta})
