"""A rollout in words and figures that every view shares: the terminal, the console. Pure."""

from operators.control.port import Record
from operators.rollout.spec import Analysis, Revision, Step
from operators.rollout.status import HistoryEntry, Phase, RolloutStatus
from operators.values import format_duration

UNDER_WAY = (Phase.PROGRESSING, Phase.PAUSED)
"""Phases in which a candidate may meet traffic."""


def short(revision: Revision | None) -> str:
    """Version and the beginning of the revision's digest."""
    return "none" if revision is None else f"v{revision.version} {revision.digest.removeprefix('sha256:')[:8]}"


def split_of(status: RolloutStatus) -> tuple[tuple[str, float, float], ...]:
    """(variant, weight %, mirror %) of everything that meets traffic now; stable takes the rest."""
    if status.variants:
        beside = tuple((v.name, v.weight, v.mirror) for v in status.variants if v.name != "stable")
    elif status.candidate is not None and status.phase in UNDER_WAY:
        beside = (("candidate", status.weight, status.mirror),)
    else:
        beside = ()
    return (("stable", 100.0 - sum(w for _, w, _ in beside), 0.0), *beside)


def step_words(step: Step) -> str:
    """A step in two words."""
    if step.set_weight is not None:
        return f"{step.set_weight:g} %"
    if step.mirror is not None:
        return f"mirror {step.mirror.percent:g} %"
    if step.pause is not None:
        return f"pause {format_duration(step.pause.duration)}" if step.pause.duration else "pause"
    if step.approval is not None:
        roles = " + ".join(step.approval.roles)
        return f"approval by {roles or step.approval.approvers}"
    if step.set_replicas is not None:
        return f"{step.set_replicas.replicas} replicas"
    return "analysis"


def thresholds(analysis: Analysis) -> tuple[float, float]:
    """E-values at which one gate says worse, and no worse: shared among the gates as the policy says."""
    shares = len(analysis.gates) if analysis.combine == "bonferroni" else 1
    return shares / analysis.alpha, 1 / analysis.beta


def move_words(move: HistoryEntry) -> str:
    """A move in two words; the weight only where it is what moved."""
    return f"{move.move} {move.weight:g} %" if move.move == "setWeight" and move.weight is not None else move.move


def unobserved(record: Record) -> str:
    """What a service without an observation waits for."""
    return record.service.status.waiting_for or "the control plane's first look at it"
