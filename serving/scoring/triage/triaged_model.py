"""A model behind its triage: rows that the cheap model scores below the bound are ended, the others are run. Core.

For its callers this is a model like any other, so the loop, threads, deadlines, the cache, mirrored copies and replays need to know
nothing of it. A cheap model that fails ends no row."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.messages import DTYPES
from serving.models.errors import BundleError
from serving.models.manifest import Manifest, ScoreSpec, TensorSpec
from serving.models.parts.triage import TriageSpec
from serving.models.verdicts import scores_of
from serving.ports import Model, StopSignal
from serving.scoring.triage.audit_sample import audited, is_audited
from serving.scoring.triage.outcomes import AUDITED, ENDED, FAILED, OUTCOMES, PASSED, SKIPPED, TRIAGE, Outcomes
from serving.spec import TriageSwitch

_log = logging.getLogger("vedette.triage")


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


_ONE: Final = tuple(_fixed(np.array([code], dtype=np.int8)) for code in range(len(OUTCOMES)))
"""The outcome of one row, by code."""
_WITHOUT: Final = "; serve the bundle without triage"


class TriagedModel:
    """A model with a cheap model in front that ends clear cases (port Model). If the output `triage` is requested, it ends rows and says
    which. Otherwise the model answers alone.

    bound: rows that are scored below it are ended. audit_share: of them, the share that is run anyway."""

    def __init__(self, model: Model, cheap: Model, manifest: Manifest, switch: TriageSwitch) -> None:
        """Raises BundleError for a bundle whose rows cannot be run apart."""
        spec, score = _checked(manifest, model)
        self.name, self.bound = spec.name, np.float32(spec.bound if switch.bound is None else switch.bound)
        self.audit_share = switch.audit_share
        self._model, self._cheap, self._score = model, cheap, score.output
        self._cheap_score = ScoreSpec(output=spec.output, column=spec.column)
        output = next(o for o in manifest.outputs if o.name == score.output)
        self._dtype, self._trailing = DTYPES[output.datatype], output.shape[1:]
        self._first = manifest.inputs[0].name
        self._one_bound = float(self.bound)
        self._one_ended = {self._score: _fixed(np.full((1, *self._trailing), np.nan, dtype=self._dtype)), TRIAGE: _ONE[ENDED]}
        self._has_failed = False

    def run(
        self, tensors: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, stop: StopSignal | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run once; see ports.Model. A row that is ended has the score NaN."""
        if outputs is None or TRIAGE not in outputs:
            return self._model.run(tensors, outputs, stop)
        asked, rows = [name for name in outputs if name != TRIAGE], len(tensors[self._first])
        if rows == 1 and asked == [self._score]:
            outcome = self._outcome(tensors)
            if outcome == ENDED:
                return self._one_ended
            return {**self._model.run(tensors, asked, stop), TRIAGE: _ONE[outcome]}
        outcomes = self._outcomes(tensors, rows) if asked == [self._score] else np.full(rows, SKIPPED)
        to_run = np.flatnonzero(outcomes != ENDED)
        if len(to_run) == rows:
            return {**self._model.run(tensors, asked, stop), TRIAGE: outcomes}
        scores = np.full((rows, *self._trailing), np.nan, dtype=self._dtype)
        if len(to_run):
            part = {name: tensor[to_run] for name, tensor in tensors.items()}
            made = self._model.run(part, asked, stop)[self._score]
            if made.shape != (len(to_run), *self._trailing):  # the caller says that rows are missing
                return {self._score: made, TRIAGE: outcomes}
            scores[to_run] = made
        return {self._score: scores, TRIAGE: outcomes}

    def _outcome(self, tensors: Mapping[str, NDArray[Any]]) -> int:
        """Of a single row, without array operations."""
        spec = self._cheap_score
        try:
            values = self._cheap.run(tensors, [spec.output])[spec.output]
            score = (values if spec.column is None else values[..., spec.column]).item()
        except Exception as problem:  # whatever it is, the model answers the row
            self._tell(problem)
            return int(FAILED)
        if not score < self._one_bound:
            return int(PASSED)
        return int(AUDITED if is_audited(tensors, self.audit_share) else ENDED)

    def _tell(self, problem: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            _log.warning("triage %s fails, its rows go to the model (logged once): %s", self.name, problem)

    def _outcomes(self, tensors: Mapping[str, NDArray[Any]], rows: int) -> Outcomes:
        try:
            scores = scores_of(self._cheap.run(tensors, [self._cheap_score.output]), self._cheap_score, rows)
        except Exception as problem:  # whatever it is, the model answers these rows
            self._tell(problem)
            return np.full(rows, FAILED)
        below = scores < self.bound  # a score that is no number is not below it
        if not below.any():
            return np.full(rows, PASSED)
        outcomes = np.where(below, ENDED, PASSED)
        if self.audit_share:
            ended = np.flatnonzero(below)
            outcomes[ended[audited(tensors, ended, self.audit_share)]] = AUDITED
        return outcomes


def _checked(manifest: Manifest, model: Model) -> tuple[TriageSpec, ScoreSpec]:
    where = f"bundle {manifest.name}/{manifest.version}"
    if manifest.triage is None or manifest.score is None:
        raise BundleError(f"{where} has no triage; leave triage out of its revision, or train the model with `triage`")
    output = next(o for o in manifest.outputs if o.name == manifest.score.output)
    apart: frozenset[str] = getattr(model, "non_row_inputs", frozenset())
    if apart or not all(_is_by_row(spec) for spec in (*manifest.inputs, output)):
        raise BundleError(f"{where}: its inputs and its score have not one entry a row, so rows cannot be run apart{_WITHOUT}")
    if DTYPES[output.datatype].kind != "f":
        raise BundleError(f"{where}: its score is {output.datatype}, which has no NaN for rows without a score{_WITHOUT}")
    if TRIAGE in {o.name for o in manifest.outputs}:
        raise BundleError(f"{where}: its graph has an output {TRIAGE!r} of its own; rename it in the graph")
    return manifest.triage, manifest.score


def _is_by_row(spec: TensorSpec) -> bool:
    """Whether the first dimension alone is free."""
    return bool(spec.shape) and spec.shape[0] == -1 and -1 not in spec.shape[1:]
