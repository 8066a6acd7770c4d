"""Asks replicas for their pages of metrics: at addresses, of this machine's store, or of a cluster's pods through its API server.

An address that does not answer is a page with a problem, never an exception. Reading is operators.control.figures.scrape's."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp

from operators.backends.exposition import ReplicaPage
from operators.backends.kube import PODS, Kube, KubeError
from operators.backends.pods import is_live
from serving.access.client_credentials import DoorCredentials
from serving.files.registrations import living

REPLICA_PODS: Final = "app.kubernetes.io/name=vedette,app.kubernetes.io/component in (replica,predictor)"
"""Label selector of the pods whose replicas have pages, as Prometheus' operator selects them too."""
_PORTS: Final = ("serve", "http1")
"""Names of the port that answers /metrics, in a Ray worker and in a predictor."""
_TIMEOUT_S: Final = 2.0
_LARGEST: Final = 16 << 20
_TOGETHER: Final = 32


def ask_addresses(addresses: Sequence[str], headers: Mapping[str, str]) -> tuple[ReplicaPage, ...]:
    """The page of each base URL, all asked at once. Blocks for at most about two seconds; not for use on an event loop."""

    async def ask() -> tuple[ReplicaPage, ...]:
        places = asyncio.Semaphore(_TOGETHER)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as session:
            return tuple(await asyncio.gather(*(_page(session, places, address, headers) for address in addresses)))

    return asyncio.run(ask()) if addresses else ()


def named_pages(addresses: Sequence[str]) -> tuple[ReplicaPage, ...]:
    """The pages of addresses that a person named, with the credentials of the environment (VEDETTE_TOKEN, VEDETTE_API_KEY, ...)."""
    try:
        return ask_addresses(addresses, DoorCredentials().headers())
    except (OSError, ValueError) as problem:
        return (ReplicaPage("", problem=f"the credentials to ask replicas with cannot be read: {problem}"),)


def store_pages(store_dir: Path) -> tuple[ReplicaPage, ...]:
    """The page of all replicas of this machine that share a store: one of them answers for all."""
    running = living(store_dir / "replicas", socket.gethostname())
    if not running:
        problem = f"no replica of the store {store_dir} runs on this machine; `vedette up` starts one"
        return (ReplicaPage(str(store_dir), problem=problem),)
    try:
        shown = DoorCredentials().headers() or ({"x-api-key": running[0].key} if running[0].key else {})
    except (OSError, ValueError) as problem:
        return (ReplicaPage(str(store_dir), problem=f"the credentials to ask replicas with cannot be read: {problem}"),)
    return ask_addresses([f"http://127.0.0.1:{running[0].port}"], shown)


async def pod_pages(kube: Kube, namespace: str) -> tuple[ReplicaPage, ...]:
    """The pages of a namespace's replicas, read through the API server, which needs the right to get `pods/proxy`. Raises KubeError if the
    pods cannot be listed."""
    pods = [pod for pod in await kube.list(PODS, namespace, REPLICA_PODS) if is_live(pod)]
    if not pods:
        return (ReplicaPage(namespace, problem=f"no replica runs in namespace {namespace} (pods with {REPLICA_PODS})"),)
    places = asyncio.Semaphore(_TOGETHER)

    async def page(pod: Mapping[str, Any]) -> ReplicaPage:
        name = f"pod {pod['metadata']['name']}"
        try:
            async with places:
                return ReplicaPage(name, await kube.pod_text(namespace, pod["metadata"]["name"], metrics_port(pod), "metrics"))
        except KubeError as problem:
            way_out = "name addresses (--metrics, --door), or ask for the right to get pods/proxy"
            return ReplicaPage(name, problem=f"{name}: {problem.server_message or problem}; {way_out}")

    return tuple(await asyncio.gather(*map(page, pods)))


def metrics_port(pod: Mapping[str, Any]) -> int:
    """The port that answers /metrics; 8080 where no port of a pod has a name of ours.

    >>> metrics_port({"spec": {"containers": [{"ports": [{"name": "serve", "containerPort": 8000}]}]}})
    8000
    """
    ports = [port for container in (pod.get("spec") or {}).get("containers") or () for port in container.get("ports") or ()]
    return next((int(port["containerPort"]) for port in ports if port.get("name") in _PORTS), 8080)


async def _page(
    session: aiohttp.ClientSession, places: asyncio.Semaphore, address: str, headers: Mapping[str, str]
) -> ReplicaPage:
    url = address.rstrip("/") + "/metrics"
    try:
        async with places, session.get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                return ReplicaPage(address, problem=f"{url} answers {answer.status}")
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > _LARGEST:
                    return ReplicaPage(address, problem=f"{url}: the page is larger than {_LARGEST} bytes")
            return ReplicaPage(address, body.decode("utf-8", "replace"))
    except TimeoutError:
        return ReplicaPage(address, problem=f"{url} did not answer within {_TIMEOUT_S:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        return ReplicaPage(address, problem=f"{url} did not answer: {problem or type(problem).__name__}")
