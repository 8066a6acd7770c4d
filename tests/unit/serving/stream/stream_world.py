"""A worker over a broker in memory, with a real Scorer behind it, driven step by step; and a state that shows what was counted."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import msgspec

from serving.audit.record import AuditRecord
from serving.doors.listener import LoopThread
from serving.messages import InferAnswer, InferRequest
from serving.models.manifest import Manifest
from serving.stream.answers import BatchScorer
from serving.stream.codecs.json_codec import JsonCodec
from serving.stream.contract import VerdictMessage
from serving.stream.counts import StreamCounts
from serving.stream.events import StreamEvents
from serving.stream.ports import OutRecord, Ownership, Partition, StreamError, StreamRecord
from serving.stream.settings import StreamSettings
from serving.stream.spans.batch_spans import StreamSpans
from serving.stream.state import RuleHit, StateKind
from serving.stream.worker import StreamParts, StreamWorker
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.stream.broker import MemoryBroker, MemoryOutputs, MemorySource, MemoryStateLog
from tests.unit.serving.scoring.variants import World, spec

EVENTS, STATE = "vedette.events", "vedette.state"


class EntityCount:
    """How often each entity was counted in one partition."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._new: Counter[str] = Counter()

    def update(self, events: StreamEvents) -> Sequence[RuleHit]:
        for entity, is_counted in zip(events.entities, events.is_counted.tolist(), strict=True):
            if is_counted:
                self.counts[entity.decode()] += 1
                self._new[entity.decode()] += 1
        return [
            RuleHit(row, "third-time", "The third event of a host", "critical", "alert", ("T1110",))
            for row, entity in enumerate(events.entities)
            if entity == b"rule" and self.counts["rule"] >= 3
        ]

    def take_delta(self) -> bytes | None:
        new, self._new = self._new, Counter()
        return json.dumps(new).encode() if new else None

    def snapshot(self) -> Iterable[bytes]:
        return [json.dumps({entity: n}).encode() for entity, n in self.counts.items()]

    def restore(self, part: bytes) -> None:
        self.counts.update(json.loads(part))

    apply = restore


class EntityCounts:
    """Kind of that state."""

    name = "counts"
    columns: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.states: dict[Partition, EntityCount] = {}
        self.asked: list[int] = []

    def open(self, partition: Partition) -> EntityCount:
        self.states[partition] = EntityCount()
        return self.states[partition]

    def forget(self, partition: Partition) -> None:
        self.states.pop(partition, None)

    def answering(self, parts: Sequence[StreamEvents]) -> AbstractContextManager[None]:
        self.asked.append(sum(map(len, parts)))
        return nullcontext()

    def metrics(self) -> Mapping[str, float]:
        return {"entities": float(sum(len(state.counts) for state in self.states.values()))}


class LoopAnswerer:
    """Port Answerer over a service on a loop of its own. fault: raised in place of the next answers while it is set."""

    def __init__(self, service: Any, loop: LoopThread) -> None:
        self._service, self._loop = service, loop
        self.fault: Exception | None = None
        self.rows: list[int] = []

    def manifest(self, model: str) -> Manifest:
        found: Manifest = self._service.manifest(model)
        return found

    def infer(self, request: InferRequest, around: Callable[[], ExitStack]) -> InferAnswer:
        self.rows.append(len(request.inputs[0].data))
        if self.fault is not None:
            raise self.fault

        async def ask() -> InferAnswer:
            with around():
                answer: InferAnswer = await self._service.infer(request)
                return answer

        return self._loop.submit(ask()).result()

    def record(self, model: str, records: Sequence[AuditRecord]) -> None:
        if self.fault is not None:
            raise self.fault
        self._loop.submit(self._service.record(model, records)).result()


class StreamWorld:
    """The broker, the service, and as many workers as are made."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.broker = MemoryBroker()
        self.settings = StreamSettings(
            **{
                "model": "threat",
                "commit_ms": 1e-6,
                "linger_ms": 1e-3,
                "idle_s": 1e6,
                "snapshot_s": 1e-6,
                "retry_s": 1e-3,
                **settings,
            }
        )
        own = self.settings
        self.partitions = 2
        for topic in (own.events, own.verdicts, own.alerts, own.dead_letters, own.state, own.investigate):
            self.broker.topic(topic, self.partitions)
        self.loop = LoopThread("scoring")
        self.folder = folder
        self.service_world = World(folder)
        self.answerer = LoopAnswerer(self.service_world.service, self.loop)
        self.workers: list[Worker] = []
        self.trace_ratio = 0.0

    def serve(self, *bundles: Any, **how: Any) -> None:
        for bundle in bundles:
            self.service_world.store.add(bundle)
        self.loop.submit(self.service_world.service.apply(spec(*bundles, **how))).result()

    def close(self) -> None:
        self.service_world.service.close()
        self.loop.close()

    def produce(self, *bodies: Any, first: int = 0, headers: Any = (), time_us: int = 1_000_000) -> None:
        for body in bodies:
            value = body if isinstance(body, bytes) else json.dumps(body).encode()
            key = str(body.get("host", "")).encode() if isinstance(body, dict) else b"x"
            self.broker.produce(EVENTS, OutRecord(EVENTS, value, key, headers), time_us=time_us)

    def worker(self) -> "Worker":
        self.workers.append(Worker(self, f"w{len(self.workers)}"))
        return self.workers[-1]

    def verdicts(self) -> list[VerdictMessage]:
        return [msgspec.json.decode(r.value or b"", type=VerdictMessage) for r in self.broker.read(self.settings.verdicts)]

    def counts(self) -> Counter[str]:
        """What the states say after all: read from the changelog by a worker that comes last."""
        last = self.worker()
        last.steps(3)
        found: Counter[str] = Counter()
        for state in last.kind.states.values():
            found.update(state.counts)
        last.stop()
        return found


class Worker:
    """One worker and the ways in which it ends. A step that fails is followed by a new session, as in `run`."""

    def __init__(self, world: StreamWorld, name: str) -> None:
        self.world, self.name = world, name
        self.kind = EntityCounts()
        self.counts = StreamCounts()
        self.is_stopping = False
        self.failures: list[str] = []
        self.source: MemorySource | None = None
        parts = StreamParts(
            self._connect,
            MemoryStateLog(world.broker, STATE),
            JsonCodec(),
            BatchScorer(world.answerer, "threat", "", 30.0),
            self._kinds_of,
            world.settings,
            self.counts,
            StreamSpans(Tracer(world.trace_ratio, None, exporter=world.service_world.spans.exporter), "kafka", "group"),
        )
        self.worker = StreamWorker(parts, lambda: self.is_stopping)
        self.is_open = False

    def _kinds_of(self, manifest: Manifest) -> Sequence[StateKind]:
        return (self.kind,)

    def _connect(self, ownership: Ownership) -> tuple[MemorySource, MemoryOutputs]:
        world = self.world
        self.source = MemorySource(world.broker, [EVENTS], world.settings.group, ownership)
        is_exact = world.settings.mode == "exactly_once"
        return self.source, MemoryOutputs(world.broker, self.source, self.name if is_exact else None)

    def step(self) -> None:
        try:
            if not self.is_open:
                self.worker.open()
                self.is_open = True
            self.worker.step()
        except StreamError as problem:
            self.failures.append(str(problem))
            self.worker.give_up()
            self.is_open = False

    def steps(self, n: int) -> None:
        for _ in range(n):
            self.step()

    def stop(self) -> None:
        """As with SIGTERM."""
        if self.is_open:
            self.worker.close()
            self.is_open = False

    def kill(self) -> None:
        """As with SIGKILL: nothing of it runs any more."""
        if self.source is not None and self.is_open:
            self.source.kill()
        self.is_open = False


def events(n: int, first: int = 0, hosts: int = 5) -> Iterator[dict[str, Any]]:
    for i in range(first, first + n):
        yield {"host": f"host-{i % hosts}", "level": float(i % 7) - 3, "event_id": f"e{i}"}


def headers_of(record: StreamRecord) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}
