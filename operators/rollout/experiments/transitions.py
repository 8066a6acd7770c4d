"""What an experiment's moves change in the status. Pure; an illegal move raises IllegalMove and changes nothing.

operators.rollout.experiments.decide chooses the move."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from operators.rollout import history, moves
from operators.rollout.evidence import key
from operators.rollout.facts import Facts
from operators.rollout.history import record
from operators.rollout.moves import IllegalMove, require
from operators.rollout.status import NOTHING_UNDER_WAY, Assessment, FinishedRollout, Phase, RolloutStatus


def _start_experiment(status: RolloutStatus, move: moves.StartExperiment, facts: Facts, now: datetime) -> RolloutStatus:
    require(status.phase is Phase.HEALTHY and status.stable is not None, "an experiment starts beside a healthy stable")
    begun = status.model_copy(
        update={
            **NOTHING_UNDER_WAY,
            "phase": Phase.EXPERIMENT,
            "experiment": move.experiment,
            "experiment_seen": move.seen,
            "variants": move.variants,
            "started": now,
            "started_by": move.by,
            "last_progress": now,
            "assessment": Assessment(),
            "report": None,
            "moves": (),
            "waiting_for": "loading",
            "message": move.reason,
        }
    )
    return record(begun, move, "start experiment", now)


def _split(status: RolloutStatus, move: moves.SplitTraffic, facts: Facts, now: datetime) -> RolloutStatus:
    require(status.experiment is not None, "a split, but no experiment is under way")
    require(facts.candidate.is_everywhere, f"a split, but {facts.candidate.words}")
    return record(
        status.model_copy(update={"variants": move.variants, "split_since": now, "last_progress": now}), move, "split", now
    )


def _stop_variant(status: RolloutStatus, move: moves.StopVariant, facts: Facts, now: datetime) -> RolloutStatus:
    require(status.experiment is not None, "a variant is stopped, but no experiment is under way")
    stopped = {**status.stopped, move.name: move.reason}
    return record(status.model_copy(update={"variants": move.variants, "stopped": stopped}), move, f"stop {move.name}", now)


def _conclude(status: RolloutStatus, move: moves.Conclude, facts: Facts, now: datetime) -> RolloutStatus:
    spec, stable = status.experiment, status.stable
    if spec is None or stable is None:
        raise IllegalMove("conclude, but no experiment is under way")
    noted = record(status, move, "conclude", now)
    other = next(
        (v.revision for v in status.variants if key(v.name, v.revision.digest) != key("stable", stable.digest)), stable
    )
    ended = FinishedRollout(
        candidate=other,
        stable=stable,
        started=status.started or now,
        ended=now,
        outcome="concluded",
        by=move.by,
        reason=move.reason,
        moves=noted.moves,
        report=move.report,
    )
    finished = history.with_ended(noted, ended, facts.desired.rollout.history_limit)
    return finished.model_copy(
        update={
            **NOTHING_UNDER_WAY,
            "phase": Phase.HEALTHY,
            "report": move.report,
            "message": f"experiment over: {move.reason}",
            "waiting_for": "",
            "moves": (),
        }
    )


def _forget(status: RolloutStatus, move: moves.ForgetExperiment, facts: Facts, now: datetime) -> RolloutStatus:
    return status.model_copy(update={"experiment_seen": None})


TRANSITIONS: Final[Mapping[type[moves.Move], Callable[..., RolloutStatus]]] = {
    moves.StartExperiment: _start_experiment,
    moves.SplitTraffic: _split,
    moves.StopVariant: _stop_variant,
    moves.Conclude: _conclude,
    moves.ForgetExperiment: _forget,
}
