"""Reading: one object, a list in pages, a watch. Answers are JSON values; server.py sends them."""

import asyncio
import base64
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

from tests.fakes.apiserver.failures import Refused, bad_request, expired
from tests.fakes.apiserver.storing.objects import Call
from tests.fakes.apiserver.storing.selectors import Matches, matcher
from tests.fakes.apiserver.storing.store import Change, Key, Store
from tests.fakes.apiserver.storing.views import at_version

Json = dict[str, Any]
BOOKMARK_EVERY_S = 2.0  # a real server sends one about every minute; tests should not wait
KEPT_PAGES = 64


class Reader:
    """Lists and watches over a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._pages: OrderedDict[int, list[tuple[Key, Json]]] = OrderedDict()  # snapshots that continue tokens read on

    def get(self, call: Call) -> Json | None:
        """The object, or None."""
        return self.store.get(call.kind.resource, (call.namespace, call.name))

    def list(self, call: Call) -> Json:
        """A *List object: selectors, limit and continue; raises Refused (400, 410)."""
        kind, query = call.kind, call.query
        matches = matcher(kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        revision, items = self._snapshot(call)
        items = [(key, obj) for key, obj in items if not call.namespace or key[0] == call.namespace]
        selected = [(key, at_version(kind, obj)) for key, obj in items]
        selected = [(key, obj) for key, obj in selected if matches(obj)]
        limit = int(query.get("limit") or 0)
        meta: Json = {"resourceVersion": str(revision)}
        if query.get("continue"):
            after = tuple(_token(query["continue"])["after"])
            selected = [(key, obj) for key, obj in selected if key > after]
        if limit and len(selected) > limit:
            meta["continue"] = base64.urlsafe_b64encode(
                json.dumps({"rv": revision, "after": selected[limit - 1][0]}).encode()
            ).decode()
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                meta["remainingItemCount"] = len(selected) - limit
            self._keep(revision, items)
            selected = selected[:limit]
        return {"kind": kind.list_name, "apiVersion": kind.api_version, "metadata": meta, "items": [obj for _, obj in selected]}

    def _snapshot(self, call: Call) -> tuple[int, "list[tuple[Key, Json]]"]:
        token = call.query.get("continue")
        if token:
            revision = int(_token(token)["rv"])
            if revision not in self._pages:
                raise expired(
                    "The provided continue parameter is too old to display a consistent list result. "
                    "You can start a new list without the continue parameter."
                )
            return revision, self._pages[revision]
        wanted = call.query.get("resourceVersion", "")
        if wanted.isdigit() and int(wanted) > self.store.revision:
            raise Refused(
                504,
                "Timeout",
                f"Too large resource version: {wanted}, current: {self.store.revision}",
                {
                    "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                    "retryAfterSeconds": 1,
                },
            )
        if call.query.get("resourceVersionMatch") == "Exact" and wanted:
            revision = int(wanted)
            past = self.store.as_of(call.kind.resource, revision)
            if past is None:
                raise expired("The resourceVersion for the provided list is too old.")
            return revision, past
        return self.store.revision, list(self.store.items(call.kind.resource))

    def _keep(self, revision: int, items: "list[tuple[Key, Json]]") -> None:
        self._pages[revision] = items
        while len(self._pages) > KEPT_PAGES:
            self._pages.popitem(last=False)

    def forget_pages(self) -> None:
        self._pages.clear()

    async def watch(self, call: Call) -> AsyncIterator[Json | None]:
        """Events of a watch until its timeout; None is a moment of quiet, for the sender to notice that the client left."""
        kind, query = call.kind, call.query
        matches = matcher(kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        bookmarks = call.flag("allowWatchBookmarks")
        since = query.get("resourceVersion", "")
        if since and not since.isdigit():
            raise bad_request(
                f'resourceVersion: Invalid value: "{since}": strconv.ParseUint: parsing "{since}": invalid syntax'
            )
        until = time.monotonic() + float(query.get("timeoutSeconds") or 3600)
        queue = self.store.follow(kind.resource)
        try:
            start = int(since or 0)
            if start and start < self.store.oldest(kind.resource):
                yield _error(expired(f"too old resource version: {start} ({self.store.oldest(kind.resource)})"))
                return
            for event in self._beginning(call, start, matches):
                yield event
            marked = time.monotonic()
            while (left := until - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(min(left, 0.5)):
                        change = await queue.get()
                except TimeoutError:
                    if bookmarks and time.monotonic() - marked > BOOKMARK_EVERY_S:
                        marked = time.monotonic()
                        yield self._bookmark(call)
                    else:
                        yield None
                    continue
                if change is None:
                    return
                if event := _seen(call, change, matches):
                    yield event
        finally:
            self.store.unfollow(kind.resource, queue)

    def _beginning(self, call: Call, start: int, matches: Matches) -> "list[Json]":
        """What a watch tells first: the changes since its version, or what is there now."""
        if start and not call.flag("sendInitialEvents"):
            told = (_seen(call, change, matches) for change in self.store.changes_since(call.kind.resource, start))
            return [event for event in told if event]
        if call.query.get("sendInitialEvents") == "false":
            return []
        there = [at_version(call.kind, obj) for key, obj in self.store.items(call.kind.resource, call.namespace)]
        events: list[Json] = [{"type": "ADDED", "object": obj} for obj in there if matches(obj) and _named(call, obj)]
        if call.flag("sendInitialEvents") and call.flag("allowWatchBookmarks"):
            events.append(self._bookmark(call, {"k8s.io/initial-events-end": "true"}))
        return events

    def _bookmark(self, call: Call, annotations: Json | None = None) -> Json:
        meta = {"resourceVersion": str(self.store.revision), "creationTimestamp": None} | (
            {"annotations": annotations} if annotations else {}
        )
        return {"type": "BOOKMARK", "object": {"kind": call.kind.kind, "apiVersion": call.kind.api_version, "metadata": meta}}


def _named(call: Call, obj: Json) -> bool:
    return not call.name or obj["metadata"]["name"] == call.name


def _seen(call: Call, change: Change, matches: Matches) -> Json | None:
    """The event of one change for one watch: an object that ceases to match is DELETED for it."""
    after = at_version(call.kind, change.after)
    if (call.namespace and after["metadata"].get("namespace") != call.namespace) or not _named(call, after):
        return None
    before = at_version(call.kind, change.before) if change.before else None
    was, is_ = before is not None and matches(before), change.type != "DELETED" and matches(after)
    if is_:
        return {"type": "MODIFIED" if was else "ADDED", "object": after}
    if was and before:
        last = before | {"metadata": before["metadata"] | {"resourceVersion": str(change.revision)}}
        return {"type": "DELETED", "object": last}
    return None


def _error(refused: Refused) -> Json:
    return {"type": "ERROR", "object": refused.as_json()}


def _token(written: str) -> Json:
    try:
        token: Json = json.loads(base64.urlsafe_b64decode(written))
        return token
    except ValueError as error:
        raise bad_request(f"continue key is not valid: {error}") from error
