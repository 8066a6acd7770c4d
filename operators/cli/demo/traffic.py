"""Constant load on both doors. Every request without a verdict in time counts as a failure, whatever its cause.

Open loop: requests are begun at the stated rate, whether or not earlier ones were answered. A client that is refused because the machine
is busy asks again when the server says so, as the protocol has it; each refusal is counted. While MOST_UNDER_WAY requests are under way,
further ones are held back and counted: the clients share the machine with the server, and an open loop on a machine that is too busy would
measure nothing but its own queue."""

import asyncio
import contextlib
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import grpc

from serving.access.client_credentials import DoorCredentials
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
_METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
_CONTENTS: Final = {"BYTES": "bytes_contents", "INT64": "int64_contents", "FP64": "fp64_contents", "FP32": "fp32_contents"}


@dataclass(frozen=True, slots=True)
class TrafficEvent:
    """What one request asks about. truth: what the event really is, where that is known; phase: when it is of. Neither is sent."""

    row: TrafficRow
    truth: str = ""
    phase: str = ""


@dataclass(frozen=True, slots=True)
class TrafficAnswer:
    """What a client was told. is_fallback: stable stood in for another variant."""

    variant: str
    version: str
    verdict: str
    is_fallback: bool = False
    receipt: str = ""


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

    def failure(self, why: str) -> None:
        """One request that was not answered as it should be."""
        self.failed += 1
        if len(self.failures) < 5:
            self.failures.append(why)

    @property
    def rate_per_s(self) -> float:
        """Answers a second."""
        return self.answered / max(time.monotonic() - self.began_s, 1e-9)


class DemoTraffic:
    """Sends events, which must not end while it runs. `counts` are the scene's, `total` everything since the start.

    on_answer: called with each event and its answer, those of the first trial too."""

    def __init__(
        self,
        http: str,
        address: str,
        model: str,
        events: Iterator[TrafficEvent],
        rate_per_s: float,
        on_answer: Callable[[TrafficEvent, TrafficAnswer], None] = lambda event, answer: None,
    ) -> None:
        self._url = f"{http}/v2/models/{model}/infer"
        self._address, self._model, self.rate = address, model, rate_per_s
        self._events, self._on_answer = events, on_answer
        self._under_way: set[asyncio.Task[None]] = set()
        self._shown = dict(DoorCredentials().headers())
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
            aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._shown) as session,
            grpc.aio.insecure_channel(self._address) as channel,
        ):
            call = functools.partial(channel.unary_unary(_METHOD), metadata=list(self._shown.items()))
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
                self._begin_one(self._ask(session, call, number))
            sent = max(sent, due)
            await asyncio.sleep(_TICK_S)

    def _begin_one(self, ask: Callable[[], Awaitable[TrafficAnswer]]) -> None:
        if len(self._under_way) >= MOST_UNDER_WAY:
            for counts in (self.counts, self.total):
                counts.held_back += 1
            return
        task = asyncio.create_task(self._counted(ask))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _ask(self, session: aiohttp.ClientSession, call: Any, number: int) -> Callable[[], Awaitable[TrafficAnswer]]:
        event = next(self._events)
        if number % _GRPC_EVERY == 0:
            return functools.partial(self._noted, event, functools.partial(self._grpc, call, _message(self._model, event.row)))
        return functools.partial(self._noted, event, functools.partial(self._http, session, _json(event.row)))

    async def _noted(self, event: TrafficEvent, ask: Callable[[], Awaitable[TrafficAnswer]]) -> TrafficAnswer:
        answer = await ask()
        self._on_answer(event, answer)
        return answer

    async def _until_answered(
        self, ask: Callable[[], Awaitable[TrafficAnswer]], counters: Sequence[TrafficCounts]
    ) -> TrafficAnswer:
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

    async def _counted(self, ask: Callable[[], Awaitable[TrafficAnswer]]) -> None:
        counters = (self.counts, self.total)
        for counts in counters:
            counts.sent += 1
        try:
            answer = await self._until_answered(ask, counters)
        except Exception as problem:
            for counts in counters:
                counts.failure(f"{type(problem).__name__}: {problem}"[:300])
            return
        for counts in counters:
            counts.answered += 1
            counts.by_variant[answer.variant] += 1
            counts.by_revision[f"{answer.variant}@{answer.version}"] += 1
            counts.fallbacks += answer.is_fallback
            counts.alerts[answer.variant] += answer.verdict == "alert"

    async def _http(self, session: aiohttp.ClientSession, body: bytes) -> TrafficAnswer:
        async with session.post(self._url, data=body) as reply:
            if reply.status == 429:
                raise _Refused(float(reply.headers.get("Retry-After", 1)))
            if reply.status != 200:
                raise RuntimeError(f"HTTP {reply.status}: {(await reply.text())[:200]}")
            told = await reply.json(content_type=None)
        parameters = told["parameters"]
        verdict = next(o["data"][0] for o in told["outputs"] if o["name"] == "verdict")
        return TrafficAnswer(
            parameters["variant"], told["model_version"], verdict, "fallback_from" in parameters, parameters.get("receipt", "")
        )

    async def _grpc(self, call: Any, message: bytes) -> TrafficAnswer:
        try:
            reply = ModelInferResponse.FromString(await call(message, timeout=_TIMEOUT_S))
        except grpc.aio.AioRpcError as problem:
            if problem.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise _Refused(1.0) from problem
            raise
        parameters = reply.parameters
        at = next(i for i, o in enumerate(reply.outputs) if o.name == "verdict")
        raw = reply.raw_output_contents
        verdict = raw[at][4:] if raw else reply.outputs[at].contents.bytes_contents[0]
        return TrafficAnswer(
            parameters["variant"].string_param,
            reply.model_version,
            verdict.decode(),
            "fallback_from" in parameters,
            parameters["receipt"].string_param,
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
