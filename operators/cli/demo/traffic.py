"""Constant load on both doors. Every request without a verdict in time counts as a failure, whatever its cause.

Open loop: requests are begun at the stated rate whatever the answers do, and latency counts from when a request was due. A client that
is refused because the machine is busy asks again when the server says so, as the protocol has it; each refusal is counted. With
MOST_UNDER_WAY requests under way, those that become due are held back and counted: the clients share the machine with the server, and an
open loop on a machine that is too busy would measure nothing but its own queue."""

import asyncio
import contextlib
import functools
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import grpc

from serving.doors.grpc.stubs import ModelInferRequest, ModelInferResponse

TrafficRow = dict[str, Any]
"""One event: (datatype, value) by input name."""

_TICK_S: Final = 0.02
_TIMEOUT_S: Final = 10.0
_GRPC_EVERY: Final = 5
"""Every fifth request goes over gRPC."""
_TRIAL_S: Final = 2.0
_TRIAL_CLIENTS: Final = 8
_BEARABLE: Final = 0.25
_LEAST_RATE: Final = 30.0
MOST_UNDER_WAY: Final = 64
_TRIES: Final = 5
"""How often one request is asked before it counts as failed."""
_Answer = tuple[str, str, str, bool]
"""Variant, version, verdict, and whether stable stood in for another variant."""
_METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
_CONTENTS: Final = {"BYTES": "bytes_contents", "INT64": "int64_contents", "FP64": "fp64_contents", "FP32": "fp32_contents"}


class _Refused(Exception):
    """The server has too much to do now. wait_s: when to ask again."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"refused {_TRIES} times, because this machine is busy")
        self.wait_s = wait_s


@dataclass(slots=True)
class TrafficCounts:
    """The clients' counts since the last reset."""

    began_s: float = field(default_factory=time.monotonic)
    sent: int = 0
    answered: int = 0
    failed: int = 0
    refused: int = 0
    """Refusals because the machine was busy; the client sent the request again."""
    held_back: int = 0
    """Requests that were not sent, because MOST_UNDER_WAY were."""
    failures: list[str] = field(default_factory=list)
    by_variant: Counter[str] = field(default_factory=Counter)
    by_revision: Counter[str] = field(default_factory=Counter)
    """By `variant@version`."""
    fallbacks: int = 0
    alerts: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)

    def failure(self, why: str) -> None:
        """One request that was not answered as it should be."""
        self.failed += 1
        if len(self.failures) < 5:
            self.failures.append(why)

    @property
    def rate_per_s(self) -> float:
        """Answers a second."""
        return self.answered / max(time.monotonic() - self.began_s, 1e-9)

    def quantile_ms(self, q: float) -> float:
        """Latency from when a request was due."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else 0.0


class DemoTraffic:
    """Sends events of a pool, round and round. `counts` are the scene's, `total` everything since the start."""

    def __init__(self, http: str, address: str, model: str, events: Sequence[TrafficRow], rate_per_s: float) -> None:
        self._url = f"{http}/v2/models/{model}/infer"
        self._address, self.rate = address, rate_per_s
        self._bodies = [_json(event) for event in events]
        self._messages = [_message(model, event) for event in events]
        self._order = itertools.cycle(range(len(events)))
        self._under_way: set[asyncio.Task[None]] = set()
        self.counts, self.total = TrafficCounts(), TrafficCounts()

    def begin(self) -> TrafficCounts:
        """Reset the counts for a new scene."""
        self.counts = TrafficCounts()
        return self.counts

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["DemoTraffic"]:
        """Send while the block runs, no faster than this machine can take; then wait for the requests under way."""
        stopping = asyncio.Event()
        connector = aiohttp.TCPConnector(limit=256)
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            grpc.aio.insecure_channel(self._address) as channel,
        ):
            call = channel.unary_unary(_METHOD)
            self.rate = min(self.rate, await self._bearable(session, call))
            sending = asyncio.create_task(self._send(session, call, stopping))
            try:
                yield self
            finally:
                stopping.set()
                await sending
                if self._under_way:
                    await asyncio.wait(self._under_way, timeout=_TIMEOUT_S + 1)

    async def _bearable(self, session: aiohttp.ClientSession, call: Any) -> float:
        """A share of the rate that client and server reach together on this machine now: a demonstration is no load test."""
        until = time.monotonic() + _TRIAL_S
        answered = 0

        async def ask_on() -> None:
            nonlocal answered
            while time.monotonic() < until:
                ask = self._ask(session, call, answered)
                try:
                    await ask()
                except _Refused as refusal:
                    await asyncio.sleep(refusal.wait_s)
                else:
                    answered += 1

        await asyncio.gather(*(ask_on() for _ in range(_TRIAL_CLIENTS)))
        return max(_LEAST_RATE, _BEARABLE * answered / _TRIAL_S)

    async def _send(self, session: aiohttp.ClientSession, call: Any, stopping: asyncio.Event) -> None:
        began, sent = time.monotonic(), 0
        while not stopping.is_set():
            due = int((time.monotonic() - began) * self.rate)
            for number in range(sent, due):
                self._begin_one(self._ask(session, call, number), began + number / self.rate)
            sent = max(sent, due)
            await asyncio.sleep(_TICK_S)

    def _begin_one(self, ask: Callable[[], Awaitable[_Answer]], due_at: float) -> None:
        if len(self._under_way) >= MOST_UNDER_WAY:
            for counts in (self.counts, self.total):
                counts.held_back += 1
            return
        task = asyncio.create_task(self._counted(ask, due_at))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _ask(self, session: aiohttp.ClientSession, call: Any, number: int) -> Callable[[], Awaitable[_Answer]]:
        index = next(self._order)
        if number % _GRPC_EVERY == 0:
            return functools.partial(self._grpc, call, index)
        return functools.partial(self._http, session, index)

    async def _until_answered(self, ask: Callable[[], Awaitable[_Answer]], counters: Sequence[TrafficCounts]) -> _Answer:
        for left in reversed(range(_TRIES)):
            try:
                return await ask()
            except _Refused as refusal:
                for counts in counters:
                    counts.refused += 1
                if not left:
                    raise
                await asyncio.sleep(refusal.wait_s)
        raise AssertionError("unreachable: the last try answers or raises")

    async def _counted(self, ask: Callable[[], Awaitable[_Answer]], due_at: float) -> None:
        counters = (self.counts, self.total)
        for counts in counters:
            counts.sent += 1
        try:
            variant, version, verdict, is_fallback = await self._until_answered(ask, counters)
        except Exception as problem:
            for counts in counters:
                counts.failure(f"{type(problem).__name__}: {problem}"[:300])
            return
        took_ms = (time.monotonic() - due_at) * 1000
        for counts in counters:
            counts.answered += 1
            counts.by_variant[variant] += 1
            counts.by_revision[f"{variant}@{version}"] += 1
            counts.fallbacks += is_fallback
            counts.alerts[variant] += verdict == "alert"
        self.counts.latencies_ms.append(took_ms)

    async def _http(self, session: aiohttp.ClientSession, index: int) -> _Answer:
        async with session.post(self._url, data=self._bodies[index]) as reply:
            if reply.status == 429:
                raise _Refused(float(reply.headers.get("Retry-After", 1)))
            if reply.status != 200:
                raise RuntimeError(f"HTTP {reply.status}: {(await reply.text())[:200]}")
            body = await reply.json(content_type=None)
        answer_parameters = body["parameters"]
        verdict = next(o["data"][0] for o in body["outputs"] if o["name"] == "verdict")
        return answer_parameters["variant"], body["model_version"], verdict, "fallback_from" in answer_parameters

    async def _grpc(self, call: Any, index: int) -> _Answer:
        try:
            reply = ModelInferResponse.FromString(await call(self._messages[index], timeout=_TIMEOUT_S))
        except grpc.aio.AioRpcError as problem:
            if problem.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise _Refused(1.0) from problem
            raise
        answer_parameters = reply.parameters
        at = next(i for i, o in enumerate(reply.outputs) if o.name == "verdict")
        raw = reply.raw_output_contents
        verdict = raw[at][4:] if raw else reply.outputs[at].contents.bytes_contents[0]
        return (
            answer_parameters["variant"].string_param,
            reply.model_version,
            verdict.decode(),
            "fallback_from" in answer_parameters,
        )


def _json(event: TrafficRow) -> bytes:
    import orjson

    inputs = [{"name": n, "datatype": t, "shape": [1], "data": [v]} for n, (t, v) in event.items()]
    return orjson.dumps({"inputs": inputs})


def _message(model: str, event: TrafficRow) -> bytes:
    request = ModelInferRequest(model_name=model)
    for name, (datatype, value) in event.items():
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[1])
        getattr(tensor.contents, _CONTENTS[datatype]).append(value.encode() if datatype == "BYTES" else value)
    body: bytes = request.SerializeToString()
    return body
