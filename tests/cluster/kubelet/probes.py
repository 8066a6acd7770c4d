"""Probes: when one has passed or failed often enough (pure), and how one is asked.

Source: Kubernetes API reference, Probe v1."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import grpc
import httpx

Json = dict[str, Any]
Exec = Callable[[list[str], float], Awaitable[int]]
"""Runs a command in the container, within so many seconds; its exit status."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A probe's verdict so far. holds: what it says now; count: equal answers in a row that would change it."""

    holds: bool
    success: int = 1
    failure: int = 3
    count: int = 0

    def after(self, passed: bool) -> "Threshold":
        """One more answer. The verdict changes with the last answer of a row that is long enough."""
        if passed == self.holds:
            return replace(self, count=0)
        needed = self.success if passed else self.failure
        if self.count + 1 >= needed:
            return replace(self, holds=passed, count=0)
        return replace(self, count=self.count + 1)


def threshold(probe: Json, *, holds: bool) -> Threshold:
    """Of a probe; holds: what is taken for granted before the first answer (readiness: no; liveness: yes)."""
    return Threshold(holds, probe.get("successThreshold") or 1, probe.get("failureThreshold") or 3)


def port_of(container: Json, port: int | str) -> int:
    """A port by number, or by the name that the container gives it."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    found = [p["containerPort"] for p in container.get("ports") or () if p.get("name") == port]
    if not found:
        raise ValueError(f"container {container['name']} has no port {port}")
    return int(found[0])


async def ask(probe: Json, container: Json, address: str, run: Exec) -> tuple[bool, str]:
    """Ask once. Answers whether it passed, and in words why not."""
    limit = float(probe.get("timeoutSeconds") or 1)
    try:
        async with asyncio.timeout(limit):
            if "exec" in probe:
                code = await run(probe["exec"]["command"], limit)
                return code == 0, f"command exited with {code}"
            if "httpGet" in probe:
                return await http_get(probe["httpGet"], container, address, limit)
            if "grpc" in probe:
                return await _grpc(probe["grpc"], address)
            action = probe["tcpSocket"]
            _, writer = await asyncio.open_connection(action.get("host") or address, port_of(container, action["port"]))
            writer.close()
            return True, ""
    except TimeoutError:
        return False, f"no answer within {limit:g} s"
    except (OSError, ValueError, httpx.HTTPError, grpc.aio.AioRpcError) as problem:
        return False, f"{type(problem).__name__}: {problem}"


async def http_get(action: Json, container: Json, address: str, limit: float) -> tuple[bool, str]:
    """From the node to the pod's address, as a kubelet asks: what listens on loopback only is not reached."""
    scheme = str(action.get("scheme") or "HTTP").lower()
    url = f"{scheme}://{action.get('host') or address}:{port_of(container, action['port'])}{action.get('path') or '/'}"
    headers: Mapping[str, str] = {h["name"]: h["value"] for h in action.get("httpHeaders") or ()}
    async with httpx.AsyncClient(verify=_trusting(), timeout=limit, trust_env=False) as http:
        answer = await http.get(url, headers={"User-Agent": "kube-probe/test", "Connection": "close", **headers})
    return 200 <= answer.status_code < 400, f"HTTP probe failed with statuscode: {answer.status_code}"


def _trusting() -> ssl.SSLContext:
    """A kubelet does not check the certificate of what it probes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _grpc(action: Json, address: str) -> tuple[bool, str]:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with grpc.aio.insecure_channel(f"{address}:{action['port']}") as channel:
        request = health_pb2.HealthCheckRequest(service=action.get("service") or "")
        answer = await health_pb2_grpc.HealthStub(channel).Check(request)
    is_serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return is_serving, f"service status {answer.status}"
