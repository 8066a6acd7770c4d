"""The risk of an entity now: one figure, its parts, and the signals that are missing.

Pure: a function of the record, the rules and the time."""

import math
from dataclasses import dataclass

from serving.risk.entity_record import EntityRecord, RiskChange, log_odds, weight_of_evidence
from serving.risk.rules_of_risk import RiskRules
from serving.risk.signal import KINDS, Kind, PendingCheck, RiskSignal


@dataclass(frozen=True, slots=True)
class RiskPart:
    """What one source adds. log_odds: the sum of all parts and the prior's is the log-odds of the risk. age_s: of the signal."""

    signal: RiskSignal
    log_odds: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Risk:
    """The risk of an entity at one moment.

    risk: 0..1. level: low, medium, high or critical. parts: strongest first. missing: kinds that are expected and have no signal
    recent enough. pending: checks that are not done and not due; overdue: those whose time is over. changes: oldest first."""

    entity: str
    at_us: int
    risk: float
    level: str
    prior: float
    parts: tuple[RiskPart, ...]
    missing: tuple[Kind, ...]
    pending: tuple[PendingCheck, ...]
    overdue: tuple[PendingCheck, ...]
    changes: tuple[RiskChange, ...]
    rules_digest: str

    @property
    def is_complete(self) -> bool:
        """Whether everything that is expected was heard."""
        return not (self.missing or self.pending or self.overdue)


def assess(record: EntityRecord, rules: RiskRules, now_us: int) -> Risk:
    """Combine what is known of an entity. Without signals the risk is the prior, and not complete where a kind is expected."""
    parts = [
        RiskPart(signal, weight_of_evidence(signal, rules.of(signal.kind), now_us), max(now_us - signal.at_us, 0) / 1e6)
        for signal in record.signals.values()
    ]
    risk = risk_of(rules, [part.log_odds for part in parts])
    return Risk(
        entity=record.entity,
        at_us=now_us,
        risk=risk,
        level=rules.level(risk),
        prior=rules.prior,
        parts=tuple(sorted(parts, key=lambda part: (-abs(part.log_odds), part.signal.kind, part.signal.name))),
        missing=tuple(kind for kind in KINDS if _is_missing(record, rules, kind, now_us)),
        pending=tuple(check for check in record.pending if check.due_us > now_us),
        overdue=tuple(check for check in record.pending if check.due_us <= now_us),
        changes=record.changes,
        rules_digest=rules.digest,
    )


def risk_of(rules: RiskRules, parts: list[float]) -> float:
    """The risk from the log-odds of its parts. fsum: the figure does not depend on their order."""
    total = math.fsum([log_odds(rules.prior), *parts])
    return 1 / (1 + math.exp(-total)) if total >= 0 else math.exp(total) / (1 + math.exp(total))


def _is_missing(record: EntityRecord, rules: RiskRules, kind: Kind, now_us: int) -> bool:
    every_s = rules.of(kind).expected_every_s
    if every_s is None:
        return False
    newest = max((signal.at_us for signal in record.signals.values() if signal.kind == kind), default=None)
    return newest is None or (now_us - newest) / 1e6 > every_s
