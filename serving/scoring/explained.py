"""Answers with explanations: the parameters of a request, the thread that computes them, and the output. Core.

Explanations are computed in a thread of their own, one at a time, and few may wait: a request that asks for none never waits for one.
How a row is explained is the revision's explainer's (port RowExplainer)."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson

from serving.errors import BadRequest, DeadlineExceeded, ServingError
from serving.messages import EXPLAIN, EXPLANATION, InferRequest, Tensor
from serving.models.verdicts import VERDICTS, VerdictThresholds
from serving.ports import JudgedRows
from serving.resilience.bulkhead import Bulkhead
from serving.resilience.deadline import run_slice_s
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.row_group import RULES, RowGroup
from serving.scoring.triage.outcomes import ENDED
from serving.scoring.variant_runner import runtime_feed, tensors_of
from serving.telemetry import names
from serving.telemetry.counts import KnownModels
from serving.telemetry.metric_doc import MetricDoc

METHODS: Final = ("shap", "rules", "counterfactual")
MOST_ROWS: Final = 256
"""Rows of a request that are explained; a person reads fewer, and a batch is sent in parts."""
SWITCH_S: Final = 0.0002
"""How long this thread may keep the interpreter while the loop wants it. A request asks for it after each of its system calls, so that
the millisecond that other threads have (serving.doors.interpreter) would be several for each request."""
_RULES_ANSWERED: Final = "rules_answered"
TRIAGE_ENDED: Final = "triage_ended"
"""The method of a row that triage ended: the model did not run, so there is nothing to explain."""


class ExplanationThread:
    """The thread that explains, for all models of a replica. queue: explanations that may wait. budget_s: what one may take."""

    def __init__(self, *, queue: int = 8, budget_s: float = 0.5) -> None:
        self._refused = 0
        self._budget_s, self._usual_s = budget_s, 0.0
        self._bulkhead = Bulkhead("explanations", threads=1, queue=queue, on_refused=self._count_refused)
        self._counts = Counter[tuple[str, str, str]]()
        self._seconds: dict[tuple[str, ...], float] = {}
        self._known = KnownModels()

    async def explain(self, groups: Sequence[RowGroup], method: str, left_s: float) -> Tensor:
        """The output for the rows of these groups. left_s: what the request has left. Raises BadRequest, Overloaded, DeadlineExceeded."""
        began, model = time.monotonic(), groups[0].variant.revision.name
        outcome = "failed"
        try:
            found = await self._explain(groups, method, began + left_s, left_s)
            outcome = "ok"
        except ServingError:
            outcome = "refused"
            raise
        except asyncio.CancelledError:  # the client is gone
            outcome = "abandoned"
            raise
        finally:
            took_s = time.monotonic() - began
            self._counts[model, method, outcome] += 1
            self._seconds[model, method] = self._seconds.get((model, method), 0.0) + took_s
        return found

    def keep(self, models: Collection[str]) -> None:
        """Forget what is counted of models that are long gone. models: those that are loaded."""
        known = self._known.keep(models)
        self._counts = Counter({key: n for key, n in self._counts.items() if key[0] in known})
        self._seconds = {key: s for key, s in self._seconds.items() if key[0] in known}

    def metrics(self) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
        """A telemetry.metrics.Source."""
        yield names.EXPLANATIONS, {key: float(n) for key, n in self._counts.copy().items()}
        yield names.EXPLANATION_SECONDS, self._seconds.copy()
        yield names.EXPLANATIONS_UNDER_WAY, {(): float(self._bulkhead.under_way)}

    def close(self) -> None:
        """Release the thread."""
        self._bulkhead.close()

    async def _explain(self, groups: Sequence[RowGroup], method: str, deadline_s: float, left_s: float) -> Tensor:
        rows = sum(group.rows.rows for group in groups)
        texts = np.empty(rows, dtype=object)
        within_s = run_slice_s(left_s, 1.0)
        work = [(group, _work(group, method)) for group in groups]

        def run() -> list[list[bytes]]:
            began, switch_s = time.monotonic(), sys.getswitchinterval()
            sys.setswitchinterval(min(switch_s, SWITCH_S))
            done = []
            try:
                for place, (_, explain) in enumerate(work):
                    allowed_s = min(began + self._budget_s, deadline_s) - time.monotonic()
                    done.append(explain(max(allowed_s, 0.0) / (len(work) - place)))
            finally:
                sys.setswitchinterval(switch_s)
            self._usual_s = 0.8 * self._usual_s + 0.2 * (time.monotonic() - began)
            return done

        try:
            found = await self._bulkhead.run(run, within_s=within_s, expected_s=min(self._usual_s, self._budget_s))
        except TimeoutError as problem:
            raise DeadlineExceeded(
                f"the explanation was not ready in the {left_s:.3f} s that the request had left; allow more time, send fewer rows, "
                f"or ask without the parameter {EXPLAIN!r}"
            ) from problem
        for (group, _), lines in zip(work, found, strict=True):
            texts[slice(None) if group.index is None else group.index] = lines
        return Tensor(EXPLANATION, "BYTES", texts)

    def _count_refused(self) -> None:
        self._refused += 1


def method_asked(revision: LoadedRevision, request: InferRequest) -> str | None:
    """The explanation that a request asks for; None if it asks for none. Raises BadRequest for one that cannot be given."""
    asked = request.parameters.get(EXPLAIN)
    if asked is None:
        return None
    if asked not in METHODS:
        raise BadRequest(f"parameter {EXPLAIN!r} is {asked!r:.60}, expected one of {', '.join(METHODS)}")
    if revision.manifest.score is None or revision.explainer is None:
        raise BadRequest(
            f"parameter {EXPLAIN!r}: model {revision.name!r} has no score, so there is no verdict to explain; leave it out, or build "
            "the bundle with a score"
        )
    if EXPLANATION in revision.model_outputs:
        raise BadRequest(
            f"parameter {EXPLAIN!r}: the graph of model {revision.name!r} has an output {EXPLANATION!r} of its own, which would be hidden; "
            "rename it in the graph"
        )
    return str(asked)


def check_rows(rows: int) -> None:
    """Raises BadRequest for more rows than are explained at once."""
    if rows > MOST_ROWS:
        raise BadRequest(
            f"the request has {rows} rows, but explanations are given for at most {MOST_ROWS} rows; send several requests"
        )


def _work(group: RowGroup, method: str) -> Callable[[float], list[bytes]]:
    """What explains the group in the thread, given its budget in seconds."""
    revision, verdicts = group.variant.revision, group.verdicts
    explainer = revision.explainer
    if group.source == RULES or verdicts is None or explainer is None:
        explanations = [_without_model(group, row, _RULES_ANSWERED) for row in range(group.rows.rows)]
        return lambda budget_s: explanations
    thresholds = VerdictThresholds.of(revision.points[verdicts.point])
    tensors, scores, codes, kept = runtime_feed(tensors_of(group)), verdicts.scores, verdicts.codes, None
    if group.triage is not None and (group.triage == ENDED).any():
        kept = np.flatnonzero(group.triage != ENDED)
        tensors, scores, codes = {name: tensor[kept] for name, tensor in tensors.items()}, scores[kept], codes[kept]
    rows = JudgedRows(
        tensors=tensors,
        scores=scores,
        verdicts=[VERDICTS[code] for code in codes.tolist()],
        point=verdicts.point,
        investigate=thresholds.investigate,
        alert=thresholds.alert,
    )
    if kept is None:
        return lambda budget_s: explainer.explain(method, rows, budget_s)
    lines = [_without_model(group, row, TRIAGE_ENDED) for row in range(group.rows.rows)]

    def explain(budget_s: float) -> list[bytes]:
        found = explainer.explain(method, rows, budget_s) if len(kept) else []
        for row, line in zip(kept.tolist(), found, strict=True):
            lines[row] = line
        return lines

    return explain


def _without_model(group: RowGroup, row: int, method: str) -> bytes:
    """Of a row that rules judged in the model's place, or that triage ended: which rules hold."""
    verdict = None if group.verdicts is None else VERDICTS[int(group.verdicts.codes[row])]
    body: dict[str, Any] = {"method": method, "verdict": verdict}
    body["rules"] = list(group.matched[row]) if row < len(group.matched) else []
    return orjson.dumps(body)
