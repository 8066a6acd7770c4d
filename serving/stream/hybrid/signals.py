"""What a verdict, and a request for a closer look, mean for the risk of their entity. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from serving.risk.signal import MOST_TEXT, SEVERITIES, Kind, PendingCheck, RiskSignal, entity_text
from serving.stream.contract import InvestigateMessage, VerdictMessage

CHECK: Final = "closer look"
"""Name of the check that a verdict `investigate` asks for."""
_UNKNOWN: Final[Mapping[str, float]] = {"alert": SEVERITIES["high"], "investigate": SEVERITIES["medium"]}
"""Probabilities of verdicts without one: of rules, and of models that are not calibrated."""
_WITHOUT_MODEL: Final = ("rules", "triage+rules")
"""Sources of verdicts on which the model says nothing."""


def signals_of(verdict: VerdictMessage, arrived_us: int) -> list[RiskSignal]:
    """The signals of a verdict: one of its model, and one of each rule that matches. None for a benign or suppressed one.

    A model's probability counts where it has one. A rule counts by the verdict, as a verdict does not name the severity of each rule."""
    if verdict.verdict not in _UNKNOWN or verdict.suppressed_by is not None:
        return []
    assumed = _UNKNOWN[verdict.verdict]
    found = []
    if verdict.source not in _WITHOUT_MODEL:
        probability = assumed if verdict.probability is None else min(max(verdict.probability, 0.0), 1.0)
        found.append(_signal(verdict, "realtime", verdict.model, probability, arrived_us))
    found += [_signal(verdict, "rules", rule[:MOST_TEXT], assumed, arrived_us) for rule in verdict.rules if rule]
    return found


def enrichment_of(asked: VerdictMessage, found: VerdictMessage, arrived_us: int) -> RiskSignal:
    """The signal of a closer look. asked: the verdict that asked for it; found: what the other model says of the same event."""
    probability = found.probability
    if probability is None:
        probability = _UNKNOWN.get(found.verdict, SEVERITIES["informational"])
    return RiskSignal(
        entity=entity_text(asked.entity),
        kind="enrichment",
        name=found.model,
        probability=min(max(probability, 0.0), 1.0),
        at_us=event_time_of(asked, arrived_us),
        id=asked.id,
        arrived_us=arrived_us,
        revision=found.revision,
        receipt=found.receipt,
        row=found.row,
    )


def pending_of(message: InvestigateMessage) -> PendingCheck:
    """The check that the message asks for."""
    return PendingCheck(
        entity=entity_text(message.verdict.entity),
        id=message.verdict.id,
        name=CHECK,
        asked_us=message.asked_us,
        due_us=message.due_us,
    )


def event_time_of(verdict: VerdictMessage, otherwise_us: int) -> int:
    """When the event happened, microseconds; `otherwise_us`, when it came, if the verdict does not say it in RFC 3339, or says a time
    after that: a signal from the future would not grow old."""
    if verdict.event_time is None:
        return otherwise_us
    try:
        moment = datetime.fromisoformat(verdict.event_time)
    except ValueError:
        return otherwise_us
    return min(max(round(moment.timestamp() * 1e6), 0), otherwise_us) if moment.tzinfo is not None else otherwise_us


def _signal(verdict: VerdictMessage, kind: Kind, name: str, probability: float, arrived_us: int) -> RiskSignal:
    return RiskSignal(
        entity=entity_text(verdict.entity),
        kind=kind,
        name=name,
        probability=probability,
        at_us=event_time_of(verdict, arrived_us),
        id=verdict.id,
        arrived_us=arrived_us,
        revision=verdict.revision,
        receipt=verdict.receipt,
        row=verdict.row,
        reasons=verdict.techniques,
    )
