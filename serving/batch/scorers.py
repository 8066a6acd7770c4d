"""Which scorer a job takes: of rows, or of entities by window."""

from serving.batch.behaviour.risk_scorer import RiskScorer, behaviour_of
from serving.batch.job import BatchJob
from serving.batch.job_spans import TracedScorer, UnitMaker
from serving.batch.scoring.composed import ComposedScorer, ComposeWith
from serving.batch.scoring.unit_scorer import UnitScorer
from serving.ports import Clock


def open_scorer(job: BatchJob, compose: ComposeWith, clock: Clock) -> TracedScorer:
    """Load the job's model. Raises BatchError."""
    scorer = ComposedScorer(job, compose, clock)
    maker: UnitMaker = UnitScorer(job, scorer) if behaviour_of(scorer.bundle) is None else RiskScorer(job, scorer)
    return TracedScorer(job, maker, scorer)
