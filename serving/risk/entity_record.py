"""The stored record of an entity: of each source the signal that counts, the pending checks, and the last changes. Pure.

Bounded: a source keeps one signal, and an entity at most MOST_SOURCES sources of a kind; the weakest goes first. Up to that bound the
signals of a record do not depend on the order in which they come, and a signal that comes twice counts once."""

import math
from typing import Final

import msgspec

from serving.risk.rules_of_risk import KindRules, RiskRules
from serving.risk.signal import PendingCheck, RiskSignal

MOST_SOURCES: Final = 32
"""Sources of one kind."""
MOST_PENDING: Final = 32
MOST_CHANGES: Final = 16
FORGOTTEN_AFTER: Final = 20
"""Half-lives after which a signal is dropped: it counts a millionth."""
_SMALLEST: Final = 1e-6


class RiskChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an entity's risk that people should know of. late_s: how long after the time that the signal speaks of it came."""

    at_us: int
    before: float
    after: float
    because: str
    late_s: float


class EntityRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one entity. signals: by `kind/name`."""

    entity: str
    signals: dict[str, RiskSignal] = {}
    pending: tuple[PendingCheck, ...] = ()
    changes: tuple[RiskChange, ...] = ()


def log_odds(probability: float) -> float:
    """logit, bounded: probabilities of 0 and 1 count as a millionth away from them."""
    p = min(max(probability, _SMALLEST), 1 - _SMALLEST)
    return math.log(p / (1 - p))


def weight_of_evidence(signal: RiskSignal, kind: KindRules, now_us: int) -> float:
    """What the signal adds to the log-odds of the risk now. A signal from the future (a clock ahead) counts as one of now."""
    age_s = max(now_us - signal.at_us, 0) / 1e6
    return float(kind.weight * 2.0 ** (-age_s / kind.half_life_s) * (log_odds(signal.probability) - log_odds(kind.base_rate)))


def with_signal(record: EntityRecord, signal: RiskSignal, rules: RiskRules) -> EntityRecord:
    """The record with a signal; the same record where the signal that it has of that source counts more.

    An enrichment ends the pending checks of its id."""
    source = f"{signal.kind}/{signal.name}"
    pending = tuple(check for check in record.pending if not (signal.kind == "enrichment" and check.id == signal.id))
    held = record.signals.get(source)
    if held is not None and not _replaces(signal, held, rules.of(signal.kind)):
        return record if len(pending) == len(record.pending) else msgspec.structs.replace(record, pending=pending)
    signals = _strongest({**record.signals, source: signal}, signal.kind, rules.of(signal.kind))
    return msgspec.structs.replace(record, signals=signals, pending=pending)


def with_pending(record: EntityRecord, check: PendingCheck) -> EntityRecord:
    """The record with a check that was asked for. The oldest goes where there are too many."""
    if any(known.id == check.id and known.name == check.name for known in record.pending):
        return record
    return msgspec.structs.replace(record, pending=(*record.pending, check)[-MOST_PENDING:])


def with_change(record: EntityRecord, change: RiskChange) -> EntityRecord:
    """The record with one more change; the oldest goes."""
    return msgspec.structs.replace(record, changes=(*record.changes, change)[-MOST_CHANGES:])


def without_old(record: EntityRecord, rules: RiskRules, now_us: int) -> EntityRecord:
    """The record without signals that count nothing any more."""
    kept = {
        source: signal
        for source, signal in record.signals.items()
        if now_us - signal.at_us <= FORGOTTEN_AFTER * rules.of(signal.kind).half_life_s * 1e6
    }
    return record if len(kept) == len(record.signals) else msgspec.structs.replace(record, signals=kept)


def newest_us(record: EntityRecord) -> int:
    """When somebody last said something of the entity: the newest event time or arrival of its signals and checks; 0 without any."""
    said = [time for signal in record.signals.values() for time in (signal.at_us, signal.arrived_us)]
    return max([*said, *(check.asked_us for check in record.pending)], default=0)


def _replaces(signal: RiskSignal, held: RiskSignal, kind: KindRules) -> bool:
    """Whether a signal of a source counts instead of the one that is held. A total order, so the order of arrival does not matter."""
    if signal.id == held.id and signal == held:
        return False
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    if kind.is_latest:
        ours, theirs = (signal.at_us, signal.arrived_us), (held.at_us, held.arrived_us)
    else:
        later_us = max(signal.at_us, held.at_us)
        ours, theirs = (
            (weight_of_evidence(signal, kind, later_us), signal.at_us),
            (weight_of_evidence(held, kind, later_us), held.at_us),
        )
    if (ours, signal.id) != (theirs, held.id):
        return (ours, signal.id) > (theirs, held.id)
    ours_said, theirs_said = _said(signal), _said(held)  # one id, said twice: with other words any order will do, but one
    if ours_said != theirs_said:
        return ours_said > theirs_said
    return signal.arrived_us < held.arrived_us  # what is read again is nothing new


def _said(signal: RiskSignal) -> bytes:
    """All of it but when it arrived."""
    return msgspec.json.encode(msgspec.structs.replace(signal, arrived_us=0))


def _strongest(signals: dict[str, RiskSignal], kind: str, rules: KindRules) -> dict[str, RiskSignal]:
    """Without the weakest source of a kind, where there is one too many. Other kinds are left alone: rules do not push out an analyst."""
    of_kind = {source: signal for source, signal in signals.items() if signal.kind == kind}
    if len(of_kind) <= MOST_SOURCES:
        return signals
    now_us = max(signal.at_us for signal in of_kind.values())
    weakest = min(of_kind, key=lambda source: (abs(weight_of_evidence(of_kind[source], rules, now_us)), source))
    return {source: signal for source, signal in signals.items() if source != weakest}
