"""Where objects are kept: the current ones, and the recent past for watches. No rule of Kubernetes but the revision.

Every write takes the next revision of the whole store and is told to the watchers of its resource. Stored objects are never
changed in place: a write puts a new one, so a reader may keep what it got (and must not edit it).
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from tests.fakes.apiserver.storing.kinds import Resource

Json = dict[str, Any]
Key = tuple[str, str]  # namespace ("" for cluster-scoped), name
KEPT_CHANGES = 5000  # per resource; older ones are forgotten, and a watch from before them is 410


def copied(value: Any) -> Any:
    """A deep copy of JSON."""
    return orjson.loads(orjson.dumps(value))


@dataclass(frozen=True)
class Change:
    """One write: `before` is None for a creation, `after` for a deletion holds the last state at the new revision."""

    revision: int
    type: str  # ADDED, MODIFIED, DELETED
    before: Json | None
    after: Json


class Store:
    """All objects of a server. Not thread-safe: it lives in the server's event loop."""

    def __init__(self) -> None:
        self.revision = 1
        self._objects: dict[Resource, dict[Key, Json]] = defaultdict(dict)
        self._changes: dict[Resource, deque[Change]] = defaultdict(deque)
        self._oldest: dict[Resource, int] = defaultdict(lambda: 1)  # watches can start from this revision on
        self._watchers: dict[Resource, set[asyncio.Queue[Change | None]]] = defaultdict(set)
        self.after_write: list[Callable[[Resource, Key, Change], None]] = []

    def get(self, resource: Resource, key: Key) -> Json | None:
        return self._objects[resource].get(key)

    def items(self, resource: Resource, namespace: str = "") -> Iterator[tuple[Key, Json]]:
        """Current objects in order of namespace and name; namespace "" is all."""
        every = self._objects[resource]
        return ((key, every[key]) for key in sorted(every) if not namespace or key[0] == namespace)

    def resources(self) -> list[Resource]:
        return [resource for resource, objects in self._objects.items() if objects]

    def put(self, resource: Resource, key: Key, value: Json) -> Json:
        """Write one object; it is stored with its new resourceVersion, and returned."""
        before = self._objects[resource].get(key)
        self.revision += 1
        stored = value | {"metadata": value["metadata"] | {"resourceVersion": str(self.revision)}}
        self._objects[resource][key] = stored
        self._tell(resource, key, Change(self.revision, "MODIFIED" if before else "ADDED", before, stored))
        return stored

    def remove(self, resource: Resource, key: Key) -> Json:
        before = self._objects[resource].pop(key)
        self.revision += 1
        last = before | {"metadata": before["metadata"] | {"resourceVersion": str(self.revision)}}
        self._tell(resource, key, Change(self.revision, "DELETED", before, last))
        return last

    def _tell(self, resource: Resource, key: Key, change: Change) -> None:
        kept = self._changes[resource]
        kept.append(change)
        if len(kept) > KEPT_CHANGES:
            self._oldest[resource] = kept.popleft().revision
        for watcher in self._watchers[resource]:
            watcher.put_nowait(change)
        for told in self.after_write:
            told(resource, key, change)

    def oldest(self, resource: Resource) -> int:
        return self._oldest[resource]

    def forget(self, resource: Resource | None = None) -> None:
        """Compact: watches and lists from before now are 410."""
        self.revision += 1
        for one in [resource] if resource else list(self._changes):
            self._changes[one].clear()
            self._oldest[one] = self.revision

    def begin(self, resource: Resource) -> None:
        """A resource served from now on has no past."""
        self._oldest[resource] = self.revision

    def changes_since(self, resource: Resource, revision: int) -> list[Change]:
        return [change for change in self._changes[resource] if change.revision > revision]

    def as_of(self, resource: Resource, revision: int) -> list[tuple[Key, Json]] | None:
        """Objects as they were at a revision, or None where that past is forgotten."""
        if revision < self._oldest[resource]:
            return None
        then = dict(self._objects[resource])
        for change in reversed(self.changes_since(resource, revision)):
            key = (change.after["metadata"].get("namespace", ""), change.after["metadata"]["name"])
            if change.before is None:
                then.pop(key, None)
            else:
                then[key] = change.before
        return [(key, then[key]) for key in sorted(then)]

    def follow(self, resource: Resource) -> "asyncio.Queue[Change | None]":
        """A queue of the changes from now on; None in it means the watch is dropped."""
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._watchers[resource].add(queue)
        return queue

    def unfollow(self, resource: Resource, queue: "asyncio.Queue[Change | None]") -> None:
        self._watchers[resource].discard(queue)

    def drop_watches(self, resource: Resource | None = None) -> int:
        dropped = 0
        for one in [resource] if resource else list(self._watchers):
            for queue in list(self._watchers[one]):
                queue.put_nowait(None)
                dropped += 1
        return dropped
