"""Services: who is behind a name, and connections to a Service's address passed on to one of the pods behind it.

It follows Services and EndpointSlices, which the real controllers make. As kube-proxy does, a new connection goes to a ready pod, at
random; to one that is ending but still serves where none is ready; an open connection stays where it is. TCP only."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

from tests.cluster.kubelet.environment import service_links
from tests.cluster.kubelet.networking.bridge import Network
from tests.cluster.kubelet.wire import Api

Json = dict[str, Any]
Key = tuple[str, str]
"""(namespace, name)."""
Address = tuple[str, int]
OWNER: Final = "kubernetes.io/service-name"
CHUNK: Final = 1 << 16
API_SERVER: Final = ("default", "kubernetes")


def ready(endpoints: Sequence[Json]) -> list[Json]:
    """Those that get new connections: the ready ones, else those that end and still serve."""
    found = [e for e in endpoints if e.get("conditions", {}).get("ready", True)]
    return found or [e for e in endpoints if e["conditions"].get("serving") and e["conditions"].get("terminating")]


def addresses(slices: Sequence[Json], port: Json) -> list[Address]:
    """Where a port of a Service leads to."""
    found = []
    for one in slices:
        numbers = [p["port"] for p in one.get("ports") or () if (p.get("name") or "") == (port.get("name") or "")]
        found += [(e, number) for e in one.get("endpoints") or () for number in numbers]
    chosen = ready([e for e, _ in found])
    return [(e["addresses"][0], number) for e, number in found if e in chosen]


class Services:
    """All Services of the cluster, and the listeners at their addresses."""

    def __init__(self, api: Api, network: Network) -> None:
        self._api, self._network = api, network
        self._services: dict[Key, Json] = {}
        self._slices: dict[Key, Json] = {}
        self._listening: dict[Address, asyncio.Server] = {}

    async def follow(self) -> None:
        """Until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow("/api/v1/services", self._services))
                group.create_task(self._follow("/apis/discovery.k8s.io/v1/endpointslices", self._slices))
        finally:
            for server in self._listening.values():
                server.close()

    async def _follow(self, path: str, held: dict[Key, Json]) -> None:
        async for kind, documents in self._api.follow(path):
            if kind == "ALL":
                held.clear()
            for one in documents:
                key = one["metadata"]["namespace"], one["metadata"]["name"]
                if kind == "DELETED":
                    held.pop(key, None)
                else:
                    held[key] = one
            if held is self._services:
                await self._listen()

    def links(self, namespace: str) -> dict[str, str]:
        """The variables of a namespace's Services, and of the API server's, which every pod gets."""
        chosen = [s for key, s in sorted(self._services.items()) if key[0] == namespace or key == API_SERVER]
        return service_links(chosen)

    def slices(self, key: Key) -> list[Json]:
        namespace, name = key
        return [
            s for (n, _), s in self._slices.items() if n == namespace and (s["metadata"].get("labels") or {}).get(OWNER) == name
        ]

    def behind(self, key: Key) -> list[str]:
        """The pods that get new connections of a Service now."""
        ports = self._services.get(key, {}).get("spec", {}).get("ports") or ()
        return sorted({address for port in ports for address, _ in addresses(self.slices(key), port)})

    def look_up(self, labels: Sequence[str]) -> list[str]:
        """The addresses of `NAME.NAMESPACE`, or `HOST.NAME.NAMESPACE` of a headless Service; [] for what is not there."""
        if len(labels) not in (2, 3):
            return []
        key = labels[-1], labels[-2]
        service = self._services.get(key)
        if service is None:
            return []
        address = service["spec"].get("clusterIP")
        if address and address != "None":
            return [address] if len(labels) == 2 else []
        found = []
        for one in self.slices(key):
            every = one.get("endpoints") or ()
            chosen = (
                every
                if service["spec"].get("publishNotReadyAddresses")
                else [e for e in every if e.get("conditions", {}).get("ready", True)]
            )
            found += [e["addresses"][0] for e in chosen if len(labels) == 2 or e.get("hostname") == labels[0]]
        return found

    async def _listen(self) -> None:
        wanted: dict[Address, tuple[Key, Json]] = {}
        for key, service in self._services.items():
            address = service["spec"].get("clusterIP")
            for port in service["spec"].get("ports") or ():
                if address and address != "None" and port.get("protocol", "TCP") == "TCP":
                    wanted[address, port["port"]] = key, port
        for address in set(self._listening) - set(wanted):
            self._listening.pop(address).close()
        for address in set(wanted) - set(self._listening):
            key, port = wanted[address]

            async def connected(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: Key = key, port: Json = port
            ) -> None:
                await self._connected(key, port, reader, writer)

            self._listening[address] = await asyncio.start_server(connected, sock=self._network.listener(*address))

    async def _connected(self, key: Key, port: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        targets = [self._api.server] if key == API_SERVER else addresses(self.slices(key), port)
        if not targets:
            writer.transport.abort()  # refused, as where no pod is ready
            return
        try:
            answers, onward = await asyncio.open_connection(*random.choice(targets))
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_pass(reader, onward), _pass(answers, writer))
        for one in (onward, writer):
            one.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes until the sender is done; a reset is passed on as one."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()
