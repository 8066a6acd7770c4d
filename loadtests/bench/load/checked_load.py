"""A closed loop of clients that check every answer.

An answer is right if it has the correct score of its entity. It is also right if it says that it is degraded and has the score of the
defaults, or if it says that rules decided and has no score. A refusal is declared if its body gives a reason. Everything else is wrong or
failed, and samples of it go into the report. It runs on the benchmark's own event loop."""

import asyncio
import enum
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from loadtests.bench.load.connections import ClosedLoop, Judge, Load, SentRequest, http_post
from loadtests.bench.worlds.feature_world import PATH, FeatureWorld

TOLERANCE: Final = 1e-5
PATIENCE_S: Final = 10.0
"""Seconds after which a request without an answer has failed."""
LOOK_EVERY_S: Final = 0.01
REFUSALS: Final = frozenset({429, 503, 504})
WRONG_SAMPLES: Final = 5
"""The most wrong answers that are kept for the report."""


class AnswerKind(enum.IntEnum):
    """The kinds of answers."""

    FRESH = 0
    DEGRADED = 1
    RULES = 2
    REFUSED = 3
    WRONG = 4
    FAILED = 5
    """A status that is neither an answer nor a refusal we declare, or no answer at all."""
    LOST = 6
    """The connection could not be made, or ended before the answer."""


CheckedEvent = tuple[float, float, AnswerKind]
"""When it came (time.perf_counter), how many seconds it took, what it was."""


@dataclass(slots=True)
class Journal:
    """Every answer, in order of time. wrong: samples of answers that were neither right nor refused. late: by how many seconds the
    clients' own event loop was late, measured every LOOK_EVERY_S."""

    events: list[CheckedEvent] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def add(self, sent: float, now: float, kind: AnswerKind, problem: str = "") -> None:
        """Add an answer that came now. problem: what is wrong with it, empty if nothing."""
        self.events.append((now, now - sent, kind))
        if problem and len(self.wrong) < WRONG_SAMPLES:
            self.wrong.append(problem)

    def between(self, start_s: float, end_s: float) -> list[CheckedEvent]:
        """The answers that came between these times (time.perf_counter, s)."""
        return [e for e in self.events if start_s <= e[0] < end_s]


def kinds(events: Sequence[CheckedEvent]) -> Counter[AnswerKind]:
    """How many of each kind."""
    return Counter(kind for _, _, kind in events)


def judge(status: int, body: bytes, right: float, default: float) -> tuple[AnswerKind, str]:
    """The kind of an answer, and in words what is wrong with it; empty if nothing. right, default: the scores of its entity and of the
    defaults."""
    try:
        document = orjson.loads(body)
        if status in REFUSALS:
            reason = document.get("error")
            if isinstance(reason, str) and reason:
                return AnswerKind.REFUSED, ""
            return AnswerKind.FAILED, f"{status} without a reason: {body!r:.200}"
        if status != 200:
            return AnswerKind.FAILED, f"{status}: {body!r:.300}"
        return _judge_answer(document, right, default)
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as problem:
        return AnswerKind.WRONG, f"{status}, {problem!r}: {body!r:.300}"


def _judge_answer(document: Any, right: float, default: float) -> tuple[AnswerKind, str]:
    parameters = document["parameters"]
    outputs = {output["name"]: output["data"][0] for output in document["outputs"]}
    score, is_degraded = outputs["score"], outputs["degraded"]
    if parameters.get("source") == "rules":
        if is_degraded and score is None:
            return AnswerKind.RULES, ""
    elif is_degraded and parameters["degraded"]:
        if abs(score - default) <= TOLERANCE:
            return AnswerKind.DEGRADED, ""
    elif not is_degraded and abs(score - right) <= TOLERANCE:
        return AnswerKind.FRESH, ""
    return AnswerKind.WRONG, f"right would be {right} (defaults: {default}): {document!r:.500}"


class _Checker(Judge):
    """Compares every answer with the right score of its host."""

    def __init__(self, world: FeatureWorld, journal: Journal) -> None:
        self._world, self._journal = world, journal

    def answered(self, request: SentRequest, status: int, body: bytes, now: float) -> None:
        right = float(self._world.scores[request.number % len(self._world.bodies)])
        kind, problem = judge(status, body, right, self._world.default_score)
        self._journal.add(request.sent, now, kind, problem)

    def lost(self, request: SentRequest, now: float) -> None:
        self._journal.add(request.sent, now, AnswerKind.LOST)

    def unanswered(self, request: SentRequest, now: float) -> None:
        self._journal.add(request.sent, now, AnswerKind.FAILED, f"no answer within {PATIENCE_S:g} s")

    def unreachable(self, since: float, now: float) -> None:
        self._journal.add(since, now, AnswerKind.LOST)


class CheckedLoad:
    """A number of clients, from `async with` to its end. deadline_s: the deadline that each request states in its header."""

    def __init__(self, port: int, world: FeatureWorld, *, clients: int, deadline_s: float) -> None:
        timeout = f"x-request-timeout-ms: {round(deadline_s * 1000)}"
        requests = [http_post(port, PATH, body, timeout) for body in world.bodies]
        self.journal = Journal()
        checker = _Checker(world, self.journal)
        self._load = Load(port, checker, lambda number, _: requests[number % len(requests)], keeps_connecting=True)
        self._clients = clients
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "CheckedLoad":
        self._load.begin(ClosedLoop())
        self._tasks = [asyncio.create_task(self._load.connect(self._clients)), asyncio.create_task(self._watch())]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._load.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            due = time.perf_counter() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            self.journal.late.append(max(0.0, time.perf_counter() - due))
            self._load.give_up(PATIENCE_S)
