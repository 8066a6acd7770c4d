"""Events of a look: one for each move, and for changes without one. Pure."""

from dataclasses import dataclass
from typing import Literal

from operators.rollout import moves
from operators.rollout.status import Phase, RolloutStatus, Verdict


@dataclass(frozen=True, slots=True)
class Event:
    """One line for people about a move, as a Kubernetes Event. reason: CamelCase. message: why."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


_NAMES: dict[type[moves.Move], tuple[Literal["Normal", "Warning"], str]] = {
    moves.Start: ("Normal", "RolloutStarted"),
    moves.SetMirror: ("Normal", "MirrorSet"),
    moves.SetWeight: ("Normal", "WeightSet"),
    moves.SetReplicas: ("Normal", "ReplicasSet"),
    moves.Calibrate: ("Normal", "ThresholdCalibrated"),
    moves.PassStep: ("Normal", "StepPassed"),
    moves.MarkInconclusive: ("Warning", "AnalysisInconclusive"),
    moves.ResumeAnalysis: ("Normal", "AnalysisResumed"),
    moves.ReportOverdue: ("Warning", "ProgressDeadlineExceeded"),
    moves.Pause: ("Normal", "RolloutPaused"),
    moves.Resume: ("Normal", "RolloutResumed"),
    moves.Approve: ("Normal", "RolloutApproved"),
    moves.BreakGlass: ("Warning", "GlassBroken"),
    moves.Review: ("Normal", "GlassReviewed"),
    moves.Correct: ("Warning", "StatusRefused"),
    moves.PromoteFull: ("Warning", "PromotedInFull"),
    moves.Promote: ("Normal", "RolloutPromoted"),
    moves.Abort: ("Warning", "RolloutAborted"),
    moves.Undo: ("Warning", "RolloutUndone"),
    moves.StartExperiment: ("Normal", "ExperimentStarted"),
    moves.SplitTraffic: ("Normal", "ExperimentSplit"),
    moves.StopVariant: ("Warning", "VariantStopped"),
    moves.Conclude: ("Normal", "ExperimentConcluded"),
    moves.Refuse: ("Warning", "RequestRefused"),
}


def events(before: RolloutStatus, after_: RolloutStatus, made: list[moves.Move]) -> tuple[Event, ...]:
    """One event for each move, and for changes without one: evidence that became invalid, or a wait for people."""
    events = [Event(*_NAMES[type(m)], _message(m)) for m in made if type(m) in _NAMES]
    verdicts = before.assessment.verdict, after_.assessment.verdict
    if verdicts[1] is Verdict.INVALID and verdicts[0] is not Verdict.INVALID:
        events.append(Event("Warning", "EvidenceInvalid", after_.assessment.reason))
    if after_.is_ready and not before.is_ready:
        events.append(Event("Normal", "CandidateLoaded", "every replica has the candidate loaded, probed and warm"))
    if after_.phase is Phase.PAUSED and (before.phase is not Phase.PAUSED or before.step_index != after_.step_index):
        events.append(Event("Normal", "WaitingForPeople", after_.waiting_for))
    return tuple(events)


def _message(move: moves.Move) -> str:
    author = "" if move.by == "operator" else f" (by {move.by})"
    what = {
        moves.SetWeight: lambda m: f"weight {m.weight:g} %: ",
        moves.SetMirror: lambda m: f"mirror {m.percent:g} %: ",
        moves.Start: lambda m: f"{m.how} version {m.revision.version}: ",
        moves.Refuse: lambda m: f"{m.verb} refused: ",
    }.get(type(move), lambda m: "")(move)
    return f"{what}{move.reason}{author}"
