"""kopf's part, and kopf's only door: what is watched, and how a change becomes a look. A few lines a handler.

kopf keeps the watches alive and brings every change. It writes nothing: its own records (annotations, finalizers, progress in the
status) would be edits of resources that people keep in Git, so only `on.event` handlers are used, and finalizer, status and
retries are ours (operators.handlers.record, operators.handlers.agenda)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import kopf

from operators.api.types import GROUP, VERSION
from operators.backends.kube import Access
from operators.handlers.documents import Document

Seen = Callable[[Document, bool], Awaitable[None]]
"""Told of a document, and whether it is gone."""


def registry_of(reached: Access, service: Seen, policy: Seen) -> kopf.OperatorRegistry:
    """The handlers. reached: who we are to the cluster, the same as for our own requests."""
    registry = kopf.OperatorRegistry()

    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return await asyncio.to_thread(_connection, reached)

    async def service_seen(event: Mapping[str, Any], **_: Any) -> None:
        await service(event["object"], event["type"] == "DELETED")

    async def policy_seen(event: Mapping[str, Any], **_: Any) -> None:
        await policy(event["object"], event["type"] == "DELETED")

    kopf.on.login(registry=registry)(log_in)
    kopf.on.event(GROUP, VERSION, "modelservices", registry=registry)(service_seen)
    kopf.on.event(GROUP, VERSION, "rolloutpolicies", registry=registry)(policy_seen)
    return registry


async def watch(
    registry: kopf.OperatorRegistry, namespaces: tuple[str, ...], ready: asyncio.Event, stop: asyncio.Event
) -> None:
    """Watch until a signal, or until stopped. namespaces: by name; empty: all."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # else it lists CRDs and namespaces, which needs more rights than we have any use for
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.networking.error_backoffs = (0.5, 1, 2, 3, 5, 8)
    settings.watching.server_timeout = 10 * 60
    await kopf.operator(
        registry=registry,
        settings=settings,
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        ready_flag=ready,
        stop_flag=stop,
    )


def _connection(reached: Access) -> kopf.ConnectionInfo:
    found, header = reached.official, reached.header()
    scheme, _, token = (header or "").partition(" ")
    return kopf.ConnectionInfo(
        server=reached.server,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        scheme=scheme.capitalize() or None,
        token=token or None,
        default_namespace=reached.namespace,
    )
