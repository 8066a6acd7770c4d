"""One service as its page shows it. Pure: a record in, values for the templates out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from operators.console.rollouts.overview import KINDS
from operators.control.port import Record
from operators.control.verb_requests import expected_step
from operators.control.words import UNDER_WAY, move_words, short, split_of, step_words, thresholds, unobserved
from operators.rollout.spec import Analysis, ApprovalStep
from operators.rollout.status import GateView, Phase, RolloutStatus, Verdict

VERDICT_KINDS: Final = {
    Verdict.BETTER: "good", Verdict.NO_WORSE: "good", Verdict.WORSE: "bad", Verdict.UNDECIDED: "wait", Verdict.INVALID: "bad",
}  # fmt: skip
OUTCOME_KINDS: Final = {"promoted": "good", "aborted": "bad", "superseded": "none", "undone": "wait", "concluded": "info"}
SHOWN_FINISHED: Final = 10


@dataclass(frozen=True, slots=True)
class Act:
    """One thing a person may do here. verb: of the request. words: on the button. is_danger: it is coloured as such."""

    verb: str
    words: str
    is_danger: bool = False


@dataclass(frozen=True, slots=True)
class GateLine:
    """One gate. e_worse_share, e_no_worse_share: log(e) of log(threshold), 0 to 1: a full bar is a verdict."""

    gate: GateView
    stable: str
    candidate: str
    e_worse_share: float
    e_no_worse_share: float

    @property
    def kind(self) -> str:
        """Of its colour."""
        return VERDICT_KINDS[self.gate.verdict]


def service_values(record: Record) -> Mapping[str, Any]:
    """What the live part of the page shows: the same for all viewers."""
    status = record.status
    rollout = status.policy or record.rollout
    phase = str(status.phase) if record.is_observed else "Waiting"
    is_shown = status.phase in UNDER_WAY or (status.phase is Phase.ABORTED and status.candidate is not None)
    analysis = status.experiment.analysis if status.experiment is not None else rollout.analysis
    worse_at, fine_at = thresholds(analysis)
    return {
        "record": record,
        "status": status,
        "phase": phase,
        "kind": KINDS.get(phase, "none"),
        "stable": short(status.stable),
        "candidate": short(status.candidate) if status.candidate is not None and status.phase is not Phase.HEALTHY else "",
        "is_under_way": status.phase in UNDER_WAY,
        "steps": _steps(record) if is_shown else (),
        "split": split_of(status),
        "gates": tuple(_gate(gate, worse_at, fine_at) for gate in status.assessment.gates),
        "worse_at": worse_at,
        "fine_at": fine_at,
        "verdict_kind": VERDICT_KINDS[status.assessment.verdict],
        "guards": _guards(status, analysis),
        "waits": record.problem or (status.waiting_for if record.is_observed else unobserved(record)),
        "move_words": move_words,
        "moves": tuple(reversed(status.moves)),
        "finished": status.history[:SHOWN_FINISHED],
        "outcome_kinds": OUTCOME_KINDS,
        "short": short,
    }


def standing_words(record: Record) -> str:
    """Another text whenever buttons that a person sees would mean something else."""
    status = record.status
    revision = status.candidate.digest if status.candidate is not None else ""
    return f"{status.phase} {status.step_index} {revision} {status.paused_by or ''} {status.attempt}"


def seen_now(record: Record) -> dict[str, str]:
    """The revision, and the step if there is one, that a person sees: an act is refused at another one, so that it never counts twice."""
    status = record.status
    shown = status.candidate or status.stable
    of_step = expected_step(record)
    return of_step or ({} if shown is None or status.experiment is not None else {"revision": shown.digest})


def acts_now(record: Record) -> tuple[Act, ...]:
    """What an SRE may do to this rollout as it stands. The rules of the verbs decide again when it is handled."""
    status = record.status
    if status.experiment is not None:
        return (Act("conclude", "Conclude the experiment", is_danger=True),)
    if status.is_under_way:
        is_held = status.paused_by is not None or status.is_inconclusive
        return (
            *(() if is_held or approval_step(record) is not None else (Act("promote", "Promote to the next step"),)),
            Act("resume", "Resume") if is_held else Act("pause", "Pause"),
            Act("abort", "Abort", is_danger=True),
        )
    if status.phase is Phase.ABORTED:
        return (Act("retry", "Retry"),)
    return (Act("undo", "Undo the last promotion", is_danger=True),) if status.history else ()


def approval_step(record: Record) -> ApprovalStep | None:
    """The approval that the rollout waits for; None: it is at another step."""
    status, steps = record.status, (record.status.policy or record.rollout).steps
    is_at_one = status.is_under_way and status.step_index < len(steps)
    return steps[status.step_index].approval if is_at_one else None


def _steps(record: Record) -> tuple[tuple[str, str], ...]:
    """(class, words) of every step: done, now, failed or empty for what is to come."""
    status = record.status
    now = "failed" if status.phase is Phase.ABORTED else "now"
    return tuple(
        ("done" if i < status.step_index else now if i == status.step_index else "", step_words(step))
        for i, step in enumerate((status.policy or record.rollout).steps)
    )


def _guards(status: RolloutStatus, analysis: Analysis) -> tuple[tuple[str, tuple[GateLine, ...]], ...]:
    """An experiment's guards, by variant."""
    limits = thresholds(analysis)
    return tuple(
        (name, tuple(_gate(gate, *limits) for gate in seen.gates))
        for name, seen in status.variant_assessments.items()
        if seen.gates
    )


def _gate(gate: GateView, worse_at: float, fine_at: float) -> GateLine:
    return GateLine(
        gate,
        _proportion(gate.stable, gate.stable_interval),
        _proportion(gate.candidate, gate.candidate_interval),
        _reached(gate.e_worse, worse_at),
        _reached(gate.e_no_worse, fine_at),
    )


def _reached(value: float, threshold: float) -> float:
    return min(max(math.log(max(value, 1e-300)) / math.log(threshold), 0.0), 1.0)


def _proportion(counts: tuple[int, int], interval: tuple[float, float] | None) -> str:
    n, k = counts
    if n == 0:
        return "–"
    between = "" if interval is None else f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
    return f"{100 * k / n:.2f} %{between}, {k:,} of {n:,}"
