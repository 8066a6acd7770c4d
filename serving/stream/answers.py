"""Batches of events to answers, by the same service that answers over HTTP, and what to do about a batch that gets none.

A batch that is refused as a whole is asked again in halves, down to the events at fault; those are set aside. An error that may pass is the
caller's to wait for."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import isnan
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from serving.audit.record import AuditRecord, NotRecorded
from serving.errors import BadRequest, NotFound, ServingError, TooLarge, Unsupported
from serving.messages import DATATYPES, InferAnswer, InferRequest, RequestedOutput, Tensor
from serving.models.manifest import Manifest
from serving.scoring.answers import MIXED
from serving.scoring.row_group import MODEL, RULES
from serving.scoring.rules.raising import AND_RULES
from serving.scoring.triage.outcomes import TRIAGE, source_of_row
from serving.scoring.variant_set import VARIANT
from serving.stream.events import StreamEvents, joined_columns
from serving.stream.origins import DOOR, origins_of
from serving.stream.ports import StreamError
from serving.stream.state import SketchingKind, StateKind

_PATIENCE: Final = 64
"""Requests of one batch that may fail by the service's fault before it is taken to be out."""
_OF_THE_EVENT: Final = (BadRequest, TooLarge, Unsupported)


Identity = tuple[str, str, str, str, str | None]
"""Variant, version, revision, source, operating point."""


class CannotAnswer(StreamError):
    """No event of the batch can be answered now. Nothing is lost: try again."""


class Answerer(Protocol):
    """The service that answers, as the stream's thread sees it."""

    def manifest(self, model: str) -> Manifest:
        """The manifest of the stable revision. Raises NotFound, Unavailable."""
        ...

    def infer(self, request: InferRequest, around: Callable[[], ExitStack]) -> InferAnswer:
        """Wait for the answer. around: entered in the task that answers. Raises ServingError."""
        ...

    def record(self, model: str, records: Sequence[AuditRecord]) -> None:
        """Put records beside those of the model's answers; waits as an answer does. Raises ServingError."""
        ...


class RowAnswers(NamedTuple):
    """One answer to n events: what is the same for all, and what each row has. The lists have n entries.

    versions, revisions, variants, sources, points: one for each row; the lists are shared where all are alike."""

    receipt: str
    verdicts: list[bytes]
    scores: list[float]
    probabilities: list[float] | None
    degraded: list[bool]
    variants: list[Identity]
    """(variant, version, revision, source, operating point) of each row."""
    rules: Sequence[Sequence[str]]
    """Ids of the rules that match each row; empty where no rules were asked."""
    trace_id: str | None
    suppressed_by: Sequence[str | None]
    """Of each row the suppression that lowered its verdict."""


class ScoredEvents(NamedTuple):
    """Events of one part with their answers."""

    part: int
    """Which of the parts that were given."""
    first: int
    """Place of the first of these events in its part."""
    events: StreamEvents
    answers: RowAnswers
    first_row: int
    """Row of the first event in the answer."""
    sketched: Sequence[bool] | None = None
    """Of which events a feature is an estimate; None: of none."""


class RefusedEvent(NamedTuple):
    """An event that the model refuses. part, row: which of the events that were given."""

    part: int
    row: int
    reason: str


_Place = tuple[int, int, StreamEvents]
"""Which part, the first row in it, and the events."""


@dataclass(slots=True)
class _Asked:
    """What is the same for all requests of a batch, and what came of them."""

    manifest: Manifest
    kinds: Sequence[StateKind]
    traceparent: str | None
    scored: list[ScoredEvents] = field(default_factory=list)
    refused: list[RefusedEvent] = field(default_factory=list)
    suspects: list[_Place] = field(default_factory=list)
    """Single events on which the service failed."""
    failures: int = 0


@dataclass(frozen=True, slots=True)
class BatchScorer:
    """Asks the service about batches of events."""

    answerer: Answerer
    model: str
    operating_point: str
    deadline_s: float

    def score(
        self, parts: Sequence[StreamEvents], manifest: Manifest, kinds: Sequence[StateKind], traceparent: str | None
    ) -> tuple[list[ScoredEvents], list[RefusedEvent]]:
        """Score events of one or more partitions in one request, or in several if it is refused.

        Raises CannotAnswer if nothing can be answered now."""
        asked = _Asked(manifest, kinds, traceparent)
        self._score([(at, 0, part) for at, part in enumerate(parts)], asked)
        for suspect in asked.suspects:  # its answer failed; that may have passed
            self._score([suspect], asked, is_last=True)
        return asked.scored, asked.refused

    def record(self, records: Sequence[AuditRecord]) -> None:
        """Record what rules over several events say. Raises CannotAnswer if that cannot be recorded now."""
        try:
            self.answerer.record(self.model, records)
        except ServingError as problem:
            raise CannotAnswer(problem.message) from problem

    def _score(self, parts: Sequence[_Place], asked: "_Asked", *, is_last: bool = False) -> None:
        """Ask about these events, in halves if they are refused. is_last: what fails now is set aside."""
        rows = sum(len(events) for _, _, events in parts)
        try:
            answer = self._ask([events for _, _, events in parts], asked)
        except ServingError as problem:
            if problem.can_retry or isinstance(problem, NotRecorded | NotFound):
                raise CannotAnswer(problem.message) from problem
            is_of_event = isinstance(problem, _OF_THE_EVENT)
            if not is_of_event:
                asked.failures += 1
                if not asked.scored and (asked.failures >= _PATIENCE or (is_last and len(asked.suspects) > 1)):
                    raise CannotAnswer(f"model {self.model!r} answers no event: {problem.message}") from problem
            if rows > 1:
                for half in _halves(parts):
                    self._score(half, asked)
            elif is_of_event or is_last:
                ((at, row, _),) = parts
                asked.refused.append(RefusedEvent(at, row, problem.message))
            else:
                asked.suspects.extend(parts)
            return
        row = 0
        for at, first, events in parts:
            asked.scored.append(ScoredEvents(at, first, events, answer, row, _sketched(events, asked.kinds)))
            row += len(events)

    def _ask(self, parts: Sequence[StreamEvents], asked: "_Asked") -> RowAnswers:
        manifest = asked.manifest
        columns = joined_columns(parts)
        names = [f.name for f in (*manifest.entity_keys, *manifest.request_fields)]
        inputs = [Tensor(name, DATATYPES[columns[name].dtype], columns[name], is_finite=True) for name in names]
        stamp = manifest.event_time_field
        if stamp is not None and stamp not in names:
            inputs.append(Tensor(stamp, "INT64", np.concatenate([part.times_us for part in parts])))
        outputs = ["verdict", "score", *(["probability"] if manifest.calibration is not None else []), "degraded", VARIANT]
        request = InferRequest(
            self.model,
            None,
            tuple(inputs),
            id=origins_of(parts),
            parameters={"operating_point": self.operating_point} if self.operating_point else {},
            outputs=tuple(RequestedOutput(name) for name in outputs),
            deadline_s=self.deadline_s,
            traceparent=asked.traceparent,
            door=DOOR,
        )

        def around() -> ExitStack:
            stack = ExitStack()
            for kind in asked.kinds:
                stack.enter_context(kind.answering(parts))
            return stack

        return _by_row(self.answerer.infer(request, around))


def _sketched(events: StreamEvents, kinds: Sequence[StateKind]) -> Sequence[bool] | None:
    for kind in kinds:
        if isinstance(kind, SketchingKind) and (found := kind.sketched(events)) is not None:
            return found
    return None


def _halves(parts: Sequence[_Place]) -> list[list[_Place]]:
    """The same events in two halves, in order."""
    total = sum(len(events) for _, _, events in parts)
    first: list[_Place] = []
    second: list[_Place] = []
    room = total // 2
    for at, row, events in parts:
        n = len(events)
        here = min(n, room)
        if here:
            first.append((at, row, events.part(0, here)))
        if here < n:
            second.append((at, row + here, events.part(here, n)))
        room -= here
    return [first, second]


def _by_row(answer: InferAnswer) -> RowAnswers:
    outputs = {tensor.name: tensor.data for tensor in answer.outputs}
    parameters = answer.parameters
    scores: list[float] = outputs["score"].reshape(-1).tolist()
    rows = len(scores)
    probabilities = outputs["probability"].tolist() if "probability" in outputs else None
    trace = parameters.get("trace_id")
    ended = frozenset[int](json.loads(str(parameters["triaged"]))) if "triaged" in parameters else frozenset()
    rules: Sequence[Sequence[str]] = json.loads(str(parameters["rules"])) if "rules" in parameters else [()] * rows
    return RowAnswers(
        str(parameters["receipt"]),
        outputs["verdict"].tolist(),
        scores,
        probabilities,
        outputs["degraded"].tolist(),
        _named_by_row(_identities(answer, outputs[VARIANT].tolist(), scores, rules, ended), rules, ended),
        rules,
        None if trace is None else str(trace),
        json.loads(str(parameters["suppressed_by"])) if "suppressed_by" in parameters else [None] * rows,
    )


def _identities(
    answer: InferAnswer,
    variants: list[bytes],
    scores: list[float],
    rules: Sequence[Sequence[str]],
    ended: frozenset[int],
) -> list[Identity]:
    parameters = answer.parameters
    point = parameters.get("operating_point")
    if "variants" not in parameters:
        source = str(parameters["source"])
        one = (str(parameters["variant"]), answer.version, str(parameters["revision"]), source, _text(point))
        return [one] * len(variants)
    entries: dict[str, dict[str, Any]] = {entry["variant"]: entry for entry in json.loads(str(parameters["variants"]))}
    source = str(parameters["source"])
    found = []
    for row, (name, score, ids) in enumerate(zip(variants, scores, rules, strict=True)):
        entry = entries[name.decode()]
        by = source
        if source == MIXED:
            by = TRIAGE if row in ended else RULES if isnan(score) else MODEL
            by = f"{by}{AND_RULES}" if ids and by != RULES else by
        found.append((entry["variant"], entry["version"], entry["revision"], by, entry.get("operating_point")))
    return found


def _named_by_row(identities: list[Identity], rules: Sequence[Sequence[str]], ended: frozenset[int]) -> list[Identity]:
    """The source of a row names rules beside the model only where one matches the row, and triage only where it ended the row."""
    if not any("+" in source for _, _, _, source, _ in identities):
        return identities
    return [
        (*one[:3], source_of_row(one[3], is_ended=row in ended, has_rules=bool(ids)), one[4])
        for row, (one, ids) in enumerate(zip(identities, rules, strict=True))
    ]


def _text(value: object) -> str | None:
    return None if value is None else str(value)
