"""Which scorer a job takes: of rows, or of entities by window."""

from collections.abc import Callable
from typing import Protocol

from serving.batch.behaviour.risk_scorer import RiskScorer, behaviour_of
from serving.batch.job import BatchJob
from serving.batch.output import UnitDone
from serving.batch.plan import WorkUnit
from serving.batch.scoring.composed import ComposedScorer, ComposeWith
from serving.batch.scoring.unit_scorer import UnitScorer
from serving.ports import Clock


class JobScorer(Protocol):
    """One worker of a job."""

    def run(self, unit: WorkUnit, tell: Callable[[int], object] = lambda rows: None) -> UnitDone:
        """Make and commit a unit's file. tell: gets numbers of rows as they are done. Raises BatchError, ServingError."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


def open_scorer(job: BatchJob, compose: ComposeWith, clock: Clock) -> JobScorer:
    """Load the job's model. Raises BatchError."""
    scorer = ComposedScorer(job, compose, clock)
    return UnitScorer(job, scorer) if behaviour_of(scorer.bundle) is None else RiskScorer(job, scorer)
