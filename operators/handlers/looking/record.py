"""Writes of the operator to its own resources: status, finalizer, handled verbs, events. Each over the version that was read.

Other modules decide what is written. This one writes it, and skips writes that change nothing."""

import json
import logging
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from operators.api.types import FINALIZER, REQUESTS_ANNOTATION
from operators.backends.kube import EVENTS, MODEL_SERVICES, ROLLOUT_POLICIES, Conflict, Kind, Kube, KubeError, NotFound
from operators.handlers.documents import ResourceDocument, key_of, pending_verbs, version_of
from operators.handlers.looking.look_spans import part
from operators.rollout.events import Event
from operators.telemetry.span_names import RECORD

COMPONENT: Final = "vedette-operator"
_log = logging.getLogger("vedette.operator")


class Recorder:
    """Writes."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def read(self, document: ResourceDocument) -> ResourceDocument | None:
        """The resource as it is now; None: it is gone. Raises KubeError."""
        namespace, name = key_of(document)
        try:
            return await self._kube.get(MODEL_SERVICES, namespace, name)
        except NotFound:
            return None

    async def status(
        self, document: ResourceDocument, status: Mapping[str, Any], kind: Kind = MODEL_SERVICES
    ) -> ResourceDocument:
        """Apply the status, if the resource is still as it was read. Raises Conflict, KubeError."""
        namespace, name = key_of(document)
        fields = {"metadata": {"resourceVersion": version_of(document)}, "status": dict(status)}
        with part(RECORD):
            return await self._kube.apply(kind, namespace, name, fields, subresource="status")

    async def policy_status(self, document: ResourceDocument, status: Mapping[str, Any]) -> ResourceDocument:
        """The same for a RolloutPolicy."""
        return await self.status(document, status, ROLLOUT_POLICIES)

    async def hold(self, document: ResourceDocument) -> ResourceDocument:
        """Add our finalizer, so that a deletion waits for us. Raises Conflict, KubeError."""
        held = document["metadata"].get("finalizers") or []
        return document if FINALIZER in held else await self._finalizers(document, [*held, FINALIZER])

    async def let_go(self, document: ResourceDocument) -> None:
        """Take our finalizer away. Raises Conflict, KubeError."""
        held = document["metadata"].get("finalizers") or []
        if FINALIZER in held:
            try:
                await self._finalizers(document, [f for f in held if f != FINALIZER])
            except NotFound:
                return

    async def prune(self, document: ResourceDocument, handled: tuple[str, ...]) -> ResourceDocument:
        """Remove handled verbs and invalid entries from the annotation. Raises Conflict, KubeError."""
        found = pending_verbs(document)
        left = [r for r in found.requests if r.id not in handled]
        if len(left) == len(found.requests) and found.damaged is None:
            return document
        text = json.dumps([r.model_dump(mode="json", by_alias=True) for r in left], separators=(",", ":")) if left else None
        return await self._patch(document, {"annotations": {REQUESTS_ANNOTATION: text}})

    async def event(self, document: ResourceDocument, event: Event, now: datetime) -> None:
        """Write an Event for people. A failure is logged; nothing waits for it."""
        namespace, name = key_of(document)
        at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "metadata": {"name": f"{name[:220]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": document["apiVersion"],
                "kind": document["kind"],
                "namespace": namespace,
                "name": name,
                "uid": document["metadata"].get("uid"),
                "resourceVersion": version_of(document),
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:1024],
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": COMPONENT,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        _log.info("%s/%s: %s: %s", namespace, name, event.reason, event.message)
        try:
            await self._kube.create(EVENTS, namespace, body)
        except KubeError as problem:
            _log.warning("%s/%s: an event was not written: %s", namespace, name, problem)

    async def _finalizers(self, document: ResourceDocument, finalizers: list[str]) -> ResourceDocument:
        return await self._patch(document, {"finalizers": finalizers or None})

    async def _patch(self, document: ResourceDocument, metadata: Mapping[str, Any]) -> ResourceDocument:
        namespace, name = key_of(document)
        patch = {"metadata": {"resourceVersion": version_of(document), **metadata}}
        return await self._kube.patch(MODEL_SERVICES, namespace, name, patch)


__all__ = ["COMPONENT", "Conflict", "Recorder"]
