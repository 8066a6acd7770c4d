"""Clients that ask while pods come and go, and remember of each request what became of it.

Clients with two tries know the endpoints, as Envoy, a mesh or gRPC with `round_robin` do: where a connection fails, or no answer comes
within TRY_S, they ask another endpoint once. Clients with one try stand for those who know the Service's address only. A server that
refuses because it is busy (429) is asked again when it says so: that is no failure."""

import asyncio
import contextlib
import itertools
import struct
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import grpc
import orjson

from serving.doors.grpc.stubs import ModelInferRequest, ModelInferResponse

CONNECT_S: Final = 3.0
TRY_S: Final = 8.0
"""How long the first endpoint may take; live ones answer in milliseconds, on a machine that is too busy in some seconds. A client on a
quiet one would wait less."""
DEADLINE_S: Final = 30.0
GRPC_EVERY: Final = 5
REFUSALS: Final = 5
METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
Row = dict[str, Any]
Verdict = tuple[str, float]
"""Verdict and score."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one answer said."""

    number: str
    version: str
    verdict: str
    score: float
    is_degraded: bool


@dataclass(slots=True)
class Asked:
    """One request. at: the endpoints that were asked, in order; errors: of each that did not answer, in words; told: None if none did."""

    number: str
    event: int
    door: str
    began_s: float
    ended_s: float = 0.0
    at: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    told: Told | None = None


class _Busy(Exception):
    """429. wait_s: when to ask again."""

    def __init__(self, wait_s: float) -> None:
        super().__init__("refused, because the server is busy")
        self.wait_s = wait_s


class Clients:
    """rows: the events, asked in turn. endpoints: the addresses to choose from now. tries: how many of them one request may be asked of.

    keeps: whether connections are kept for further requests."""

    def __init__(
        self, rows: Sequence[Row], rate_per_s: float, endpoints: Callable[[], Sequence[str]], *, tries: int, keeps: bool
    ) -> None:
        self._rows, self._rate, self._endpoints, self._tries, self._keeps = rows, rate_per_s, endpoints, tries, keeps
        self._channels: dict[str, grpc.aio.Channel] = {}
        self.asked: list[Asked] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Clients"]:
        """Ask while the block runs; then wait for what is under way."""
        connector = aiohttp.TCPConnector(limit=0, force_close=not self._keeps)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            sending = group.create_task(self._send(session, group))
            try:
                yield self
            finally:
                sending.cancel()
        for channel in self._channels.values():
            await channel.close()

    async def _send(self, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        began = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
            event = number % len(self._rows)
            asked = Asked(str(number), event, "gRPC" if number % GRPC_EVERY == 0 else "HTTP", time.monotonic())
            self.asked.append(asked)
            group.create_task(self._ask(session, asked))

    async def _ask(self, session: aiohttp.ClientSession, asked: Asked) -> None:
        known, number = self._endpoints(), int(asked.number)
        chosen = [known[(number + further) % len(known)] for further in range(min(self._tries, len(known)))]
        for place, address in enumerate(chosen):
            asked.at.append(address)
            is_last = place + 1 == len(chosen)
            left_s = asked.began_s + DEADLINE_S - time.monotonic()
            try:
                async with asyncio.timeout(left_s if is_last else TRY_S):
                    asked.told = await self._once(session, asked, address)
                break
            except (aiohttp.ClientError, grpc.aio.AioRpcError, OSError, RuntimeError) as problem:  # TimeoutError is an OSError
                code = problem.code().name if isinstance(problem, grpc.aio.AioRpcError) else type(problem).__name__
                asked.errors.append(f"{address}: {code}: {str(problem)[:120]}".splitlines()[0])
        asked.ended_s = time.monotonic()

    async def _once(self, session: aiohttp.ClientSession, asked: Asked, address: str) -> Told:
        for left in reversed(range(REFUSALS)):
            try:
                if asked.door == "HTTP":
                    return await self._http(session, address, asked.event, asked.number)
                return await self._grpc(address, asked.event, asked.number)
            except _Busy as busy:
                if not left:
                    raise RuntimeError(f"refused {REFUSALS} times") from busy
                await asyncio.sleep(busy.wait_s)
        raise AssertionError("unreachable: the last try answers or raises")

    async def _http(self, session: aiohttp.ClientSession, address: str, event: int, number: str) -> Told:
        inputs = [{"name": n, "datatype": t, "shape": [1], "data": [v]} for n, (t, v) in self._rows[event].items()]
        body = orjson.dumps({"id": number, "inputs": inputs})
        limits = aiohttp.ClientTimeout(total=DEADLINE_S, sock_connect=CONNECT_S)
        async with session.post(f"http://{address}:8080/v2/models/flows/infer", data=body, timeout=limits) as reply:
            if reply.status == 429:
                raise _Busy(float(reply.headers.get("Retry-After", 1)))
            if reply.status != 200:
                raise RuntimeError(f"HTTP {reply.status}: {(await reply.text())[:200]}")
            told = await reply.json(content_type=None)
        found = {one["name"]: one["data"][0] for one in told["outputs"]}
        parameters = told["parameters"]
        degraded = bool(parameters.get("degraded")) or "fallback_from" in parameters
        return Told(told["id"], told["model_version"], found["verdict"], float(found["score"]), degraded)

    async def _grpc(self, address: str, event: int, number: str) -> Told:
        if self._keeps and address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(f"{address}:8081")
        channel = self._channels[address] if self._keeps else grpc.aio.insecure_channel(
            f"{address}:8081", options=[("grpc.use_local_subchannel_pool", 1)]
        )  # fmt: skip
        try:
            body = await channel.unary_unary(METHOD)(_message(self._rows[event], number), timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as problem:
            if problem.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise _Busy(1.0) from problem
            raise
        finally:
            if not self._keeps:
                await channel.close()
        told = ModelInferResponse.FromString(body)
        places = {one.name: place for place, one in enumerate(told.outputs)}
        degraded = told.parameters["degraded"].bool_param or "fallback_from" in told.parameters
        if raw := told.raw_output_contents:
            verdict, score = raw[places["verdict"]][4:], struct.unpack("<f", raw[places["score"]])[0]
        else:
            (verdict,) = told.outputs[places["verdict"]].contents.bytes_contents
            (score,) = told.outputs[places["score"]].contents.fp32_contents
        return Told(told.id, told.model_version, verdict.decode(), float(score), degraded)


def _message(row: Row, number: str) -> bytes:
    contents = {"BYTES": "bytes_contents", "INT64": "int64_contents", "FP64": "fp64_contents", "FP32": "fp32_contents"}
    request = ModelInferRequest(model_name="flows", id=number)
    for name, (datatype, value) in row.items():
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[1])
        getattr(tensor.contents, contents[datatype]).append(value.encode() if datatype == "BYTES" else value)
    body: bytes = request.SerializeToString()
    return body


def wrong(asked: Sequence[Asked]) -> list[str]:
    """Answers to another request, and answers that differ from another answer of the same version about the same event.

    Answers that say they rest on defaults or a fallback are apart: their features were not there."""
    seen: dict[tuple[str, int], Verdict] = {}
    found = []
    for one in asked:
        if one.told is None:
            continue
        if one.told.number != one.number:
            found.append(f"request {one.number} was given the answer to {one.told.number}")
        if one.told.is_degraded:
            continue
        said = one.told.verdict, round(one.told.score, 6)
        first = seen.setdefault((one.told.version, one.event), said)
        if first != said:
            found.append(f"event {one.event}, version {one.told.version}: {first}, then {said} of {one.at[-1]} over {one.door}")
    return found
