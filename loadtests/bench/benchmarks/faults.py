"""Faults under constant load: 32 clients check every answer while something breaks, and until the server is as it was.

Features come from a Redis of the benchmark's own; each request has a deadline of DEADLINE_S. The figures of each fault: answers that were
wrong or failed (there must be none), the slowest of those that were degraded or refused, how long after the fault all answers were right
and fresh again, and the speed after the fault beside that before. `python -m loadtests.bench faults [--quick]`;
FAULTS=redis-killed,cpu-stolen chooses some."""

import asyncio
import math
import os
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench.errors import BenchError
from loadtests.bench.load.checked_load import AnswerKind, CheckedEvent, CheckedLoad, kinds
from loadtests.bench.process import ServerUnderTest, running
from loadtests.bench.report import Row, row, unmeasured
from loadtests.bench.targets import ratio, value
from loadtests.bench.vedette import serving
from loadtests.bench.worlds import faults as fault_injection
from loadtests.bench.worlds.feature_world import FeatureWorld, build_feature_world
from loadtests.bench.worlds.own_redis import OwnRedis

CLIENTS: Final = 32
DEADLINE_S: Final = 0.1
"""The deadline that each request states, in seconds."""
RECOVERY_S: Final = 60.0
"""A server that has not recovered by then counts as not recovered."""
SETTLED_S: Final = 0.5
"""Seconds with only right and fresh answers after which the server has recovered."""
AS_BEFORE: Final = 0.8
"""Share of the speed before the fault that the server must reach again; the rest is noise of the machine."""
MARK: Final = "VEDETTE_BENCH_MARK"
KILL_S: Final = 1.0
"""A kill has shown in the answers after this many seconds. Nothing is held longer for it, because recovering begins with it."""
BAD: Final = frozenset({AnswerKind.WRONG, AnswerKind.FAILED})

FAULTS: Final[Mapping[str, fault_injection.Fault]] = {
    "redis-killed": fault_injection.redis_killed,
    "redis-slow": fault_injection.redis_slow,
    "redis-full": fault_injection.redis_full,
    "bundle-deleted": fault_injection.bundle_deleted,
    "cpu-stolen": fault_injection.cpu_stolen,
    "clients-gone": fault_injection.clients_gone,
    "replica-killed": fault_injection.replicas_killed,
}
OF_TWO: Final[Mapping[str, fault_injection.Fault]] = {"one-of-two-killed": fault_injection.one_replica_killed}
"""Where two replicas share the port."""
KILLS: Final = (fault_injection.replicas_killed, fault_injection.one_replica_killed)
"""They are over when they begin: what follows is the recovery."""
WITH_SPARE: Final[Mapping[str, fault_injection.Fault]] = {"replica-killed-spare": fault_injection.replicas_killed}
"""Where a spare process waits (VEDETTE_SPARE_PROCESS)."""
BACK_WITHIN_S: Final = 4.0
"""The recovery that is wanted of a single replica that is killed."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long one fault is measured, in seconds."""

    before_s: float
    fault_s: float


@dataclass(frozen=True, slots=True)
class FaultFindings:
    """The effect of one fault. during: the answers from its beginning until the server was back. recovery_s: infinite if it did not come
    back.

    wrong: samples of answers that were neither right nor refused."""

    during: Sequence[CheckedEvent]
    recovery_s: float
    rate_before: float
    rate_after: float
    wrong: Sequence[str]
    late_p99_ms: float = 0.0
    """How late the clients' own loop was: part of every latency here, and none of the server's doing."""

    @property
    def counts(self) -> Counter[AnswerKind]:
        """Answers by kind, from the beginning of the fault on."""
        return kinds(self.during)

    @property
    def bad(self) -> int:
        """Answers that must not happen: wrong ones, and undeclared failures."""
        return sum(self.counts[kind] for kind in BAD)

    @property
    def slowest_ms(self) -> float:
        """p99 of the answers that were degraded, given by rules, or refused; of all answers if there were none of these."""
        other = [took for _, took, kind in self.during if kind in (AnswerKind.DEGRADED, AnswerKind.RULES, AnswerKind.REFUSED)]
        return 1000 * _p99(other or [took for _, took, kind in self.during if kind == AnswerKind.FRESH])


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Inject every fault `rounds` times. Raises BenchError if there is no Redis, or a server does not start."""
    import uvloop

    times = Times(1.0, 2.0) if quick else Times(2.0, 5.0)
    chosen = [name for name in os.environ.get("FAULTS", "").split(",") if name]
    found: dict[str, list[FaultFindings]] = {}
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, OwnRedis() as redis:
        world = build_feature_world(Path(folder) / "store", redis.url)
        redis.save()
        for replicas, faults, settings in ((1, FAULTS, {}), (1, WITH_SPARE, {"spare_process": "true"}), (2, OF_TWO, {})):
            wanted = {name: fault for name, fault in faults.items() if not chosen or name in chosen}
            if not wanted:
                continue
            with replica(world, redis, replicas=replicas, **settings) as scene:
                for _ in range(rounds):
                    for name, fault in wanted.items():
                        if settings:
                            fault_injection.wait_for_spares(scene, RECOVERY_S)
                        one = uvloop.run(inject(fault, scene, times))
                        found.setdefault(name, []).append(one)
                        _print_findings(name, one)
    if not found:
        raise BenchError(f"there is no fault {chosen}; there are {[*FAULTS, *WITH_SPARE, *OF_TWO]}")
    return list(rows(found))


def replica(
    world: FeatureWorld, redis: OwnRedis, *, replicas: int = 1, **settings: str
) -> AbstractContextManager[fault_injection.Scene]:
    """Run a server of this world, as a scene that faults can break."""
    return _Up(world, redis, {"replicas": str(replicas), "audit": "off", **settings})


class _Up(AbstractContextManager[fault_injection.Scene]):
    def __init__(self, world: FeatureWorld, redis: OwnRedis, settings: Mapping[str, str]) -> None:
        self._world, self._redis = world, redis
        self._mark, self._replicas = uuid.uuid4().hex, int(settings["replicas"])
        name = f"vedette-faults-{settings['replicas']}"
        server = serving(world.folder, name, redis_url=redis.url, **settings)
        environment = (*server.environment, (MARK, self._mark))
        self._running = running(ServerUnderTest(name, server.command, environment=environment))

    def __enter__(self) -> fault_injection.Scene:
        up = self._running.__enter__()
        try:
            scene = fault_injection.Scene(self._redis, self._world, up.http_port, f"{MARK}={self._mark}")
            _wait_for_all(scene, self._replicas)
        except BaseException:
            self._running.__exit__(*sys.exc_info())
            raise
        return scene

    def __exit__(self, *problem: object) -> None:
        self._running.__exit__(*problem)  # type: ignore[arg-type]


def _wait_for_all(scene: fault_injection.Scene, replicas: int) -> None:
    """Wait for all replicas of this server: the first that listens makes it ready, and a fault needs them all. Another server may use
    the same store."""
    until = time.monotonic() + RECOVERY_S
    while time.monotonic() < until:
        if len(fault_injection.listening(scene)) == replicas:
            return
        time.sleep(0.2)
    raise BenchError(f"of {replicas} replicas not all were there after {RECOVERY_S:g} s")


async def inject(
    fault: fault_injection.Fault, scene: fault_injection.Scene, times: Times, *, clients: int = CLIENTS
) -> FaultFindings:
    """Inject one fault under load."""
    async with CheckedLoad(scene.port, scene.world, clients=clients, deadline_s=DEADLINE_S) as load:
        journal = load.journal
        await asyncio.sleep(1.0)  # warm
        before = time.perf_counter()
        await asyncio.sleep(times.before_s)
        kills, begun = fault in KILLS, time.perf_counter()
        breaking = fault(scene)
        await asyncio.to_thread(breaking.__enter__)
        try:
            await asyncio.sleep(KILL_S if kills else times.fault_s)
        finally:
            over = time.perf_counter()
            await asyncio.to_thread(breaking.__exit__, None, None, None)
        back = await _recovered(journal.events, begun if kills else over)
        await asyncio.sleep(times.before_s)
        after = time.perf_counter()
    return FaultFindings(
        journal.between(begun, after),
        back - (begun if kills else over),
        _rate(journal.between(before, begun), times.before_s),
        _rate(journal.between(after - times.before_s, after), times.before_s),
        journal.wrong,
        1000 * _p99(journal.late),
    )


async def _recovered(events: Sequence[CheckedEvent], since: float) -> float:
    """When the last answer came that was not right and fresh, if none came for SETTLED_S after it; infinite if the server did not
    recover."""
    until = time.perf_counter() + RECOVERY_S
    while time.perf_counter() < until:
        await asyncio.sleep(0.1)
        now = time.perf_counter()
        recent = [kind for at, _, kind in events[-20_000:] if at >= now - SETTLED_S]
        if recent and set(recent) == {AnswerKind.FRESH}:
            return max((at for at, _, kind in events if at >= since and kind != AnswerKind.FRESH), default=since)
    return math.inf


def _rate(events: Sequence[CheckedEvent], lasted_s: float) -> float:
    return sum(kind == AnswerKind.FRESH for _, _, kind in events) / lasted_s


def _is_lost(found: FaultFindings) -> bool:
    return math.isinf(found.recovery_s)


def rows(found: Mapping[str, Sequence[FaultFindings]]) -> Iterator[Row]:
    """The figures of each fault: answers of each kind, the slowest, the recovery, the speed."""
    for name, all_ in found.items():
        none = value("<=", 0)  # in all rounds together: a median would forgive
        yield row(f"faults/{name}/wrong", [sum(one.counts[AnswerKind.WRONG] for one in all_)], "answers", target=none)
        yield row(
            f"faults/{name}/undeclared errors", [sum(one.counts[AnswerKind.FAILED] for one in all_)], "answers", target=none
        )
        for kind in (AnswerKind.FRESH, AnswerKind.DEGRADED, AnswerKind.RULES, AnswerKind.REFUSED):
            if any(one.counts[kind] for one in all_):
                yield row(f"faults/{name}/{kind.name.lower()}", [one.counts[kind] for one in all_], "answers")
        if any(one.counts[AnswerKind.LOST] for one in all_):
            yield row(f"faults/{name}/connections lost", [one.counts[AnswerKind.LOST] for one in all_], "times")
        yield row(f"faults/{name}/p99", [one.slowest_ms for one in all_], "ms", target=value("<", DEADLINE_S * 1000 + 5))
        yield row(f"faults/{name}/of that, clients late", [one.late_p99_ms for one in all_], "ms")
        back = value("<", BACK_WITHIN_S) if name.startswith("replica-killed") else None
        if any(map(_is_lost, all_)):
            yield unmeasured(f"faults/{name}/recovery", f"not back after {RECOVERY_S:g} s", unit="s", target=back)
        else:
            yield row(f"faults/{name}/recovery", [one.recovery_s for one in all_], "s", target=back)
        before = [one.rate_before for one in all_]
        yield row(f"faults/{name}/before", before, "req/s")
        after = [one.rate_after for one in all_]
        against = (f"faults/{name}/before", before)
        yield row(f"faults/{name}/after", after, "req/s", against=against, target=ratio(">=", AS_BEFORE))


def _print_findings(name: str, one: FaultFindings) -> None:
    counts = ", ".join(f"{count} {kind.name.lower()}" for kind, count in sorted(one.counts.items()))
    line = f"{name}: {counts}; p99 {one.slowest_ms:.0f} ms (clients late {one.late_p99_ms:.0f} ms), back after {one.recovery_s:.2f} s"
    sys.stderr.write(f"{line}, {one.rate_before:,.0f} req/s before, {one.rate_after:,.0f} after\n")
    for answer in one.wrong:
        sys.stderr.write(f"  wrong: {answer}\n")


def _p99(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(0.99 * len(ordered)) - 1] if ordered else math.nan
