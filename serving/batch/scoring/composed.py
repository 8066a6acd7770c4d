"""The Scorer of one worker, composed as behind the doors, on an event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Awaitable, Mapping
from typing import Any, Final, Protocol

from serving.batch.data.files import BatchFolder
from serving.batch.errors import BatchError
from serving.batch.job import BatchJob
from serving.batch.output import HashingStream, UnitDone
from serving.batch.plan import WorkUnit
from serving.batch.scoring.reader import HistoryReader
from serving.batch.scoring.verdict_rows import outputs_of
from serving.messages import InferAnswer, InferRequest, RequestedOutput, Tensor
from serving.models.store import open_store
from serving.ports import Clock, FeatureReader
from serving.settings import ServingSettings
from serving.spec import ModelSpec, RevisionSpec, ServingSpec

REQUEST_ROWS: Final = 16_384
"""Rows of one request, and of one row group of the output."""
_DEADLINE_S: Final = 3600.0


class ComposeWith(Protocol):
    """serving.app's `compose`, with the batch's own features."""

    def __call__(self, settings: ServingSettings, *, reader: FeatureReader) -> Awaitable[Any]:
        """Wire the objects of one replica."""
        ...


class ComposedScorer:
    """Answers requests about a job's model. Not for several threads."""

    def __init__(self, job: BatchJob, compose: ComposeWith, clock: Clock, given: FeatureReader | None = None) -> None:
        """Load the model. given: where features come from, if not from `reader`. Raises BatchError if the model cannot be loaded."""
        self.job, self.input, self.output = job, BatchFolder(job.input), BatchFolder(job.output)
        # A breaker spares clients a failing model; here it would set aside the good rows that come after some bad ones. A record that
        # is dropped because a queue is full would be lost, so each answer waits for its own.
        audit = "off" if job.records == "files" or job.settings.get("audit") == "off" else "strict"
        self.settings = ServingSettings.model_validate(
            {**job.settings, "breakers": False, "cache": "off", "audit": audit, "audit_models": {}, "max_rows": REQUEST_ROWS}
        )
        self._clock = clock
        self.reader = HistoryReader(self.settings.feast_dir, self.settings.feature_repo)
        self.bundle = open_store(self.settings).read(job.bundle)
        self.traceparent: str | None = None
        """The trace in which requests are made from now on."""
        self._outputs = tuple(RequestedOutput(name) for name in outputs_of(self.bundle.manifest))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="batch", daemon=True)
        self._thread.start()
        try:
            self._composition = self._wait(self._open(compose, given or self.reader))
        except BaseException:
            self._stop()
            raise

    def close(self) -> None:
        """Release everything; the prediction log is complete afterwards."""
        try:
            self._wait(self._composition.close())
        finally:
            self._stop()

    def ask(self, inputs: tuple[Tensor, ...]) -> InferAnswer:
        """One request. Raises ServingError."""
        request = InferRequest(
            self.job.model,
            None,
            inputs,
            outputs=self._outputs,
            door="batch",
            deadline_s=_DEADLINE_S,
            traceparent=self.traceparent,
        )
        answer: InferAnswer = self._wait(self._composition.service.infer(request))
        return answer

    def entry(self, unit: WorkUnit, rows: int, counts: Mapping[str, int], stream: HashingStream) -> UnitDone:
        """The entry of a unit whose file is committed."""
        return UnitDone(
            name=unit.name,
            key=unit.key,
            rows=rows,
            counts=dict(counts),
            digest=stream.digest,
            size=stream.size,
            model=self.job.model,
            version=self.job.version,
            revision=self.job.revision_digest,
            reads=tuple(read.path for read in unit.reads),
            done_us=self._clock.now_us(),
        )

    async def _open(self, compose: ComposeWith, reader: FeatureReader) -> Any:
        composition = await compose(self.settings, reader=reader)
        revision = RevisionSpec.model_validate(dict(self.job.revision))
        spec = ModelSpec(name=self.job.model, version=self.job.version, revision=revision)
        await composition.service.apply(ServingSpec(models=(spec,)))
        if not composition.service.is_ready():
            why = composition.service.why_not_ready()
            await composition.close()
            raise BatchError(f"model {self.job.model!r} cannot be loaded: {why}")
        return composition

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
