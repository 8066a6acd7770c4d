"""The risk of entities, from the ledger of the store; and what makes it, over time. The ledger is only read."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from serving.risk.assess import Risk, assess
from serving.risk.entity_record import EntityRecord
from serving.risk.ledger import LedgerDown, RiskLedger
from serving.risk.opening import open_ledger
from serving.risk.rules_of_risk import RiskRulesError, read_rules
from serving.risk.sqlite_ledger import FILE
from serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class RisksFound:
    """By entity; problem: why they cannot be read, empty if they can."""

    by_entity: dict[str, Risk]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RiskPoint:
    """at_us: microseconds since the epoch. parts: the log-odds that each kind of signal adds."""

    at_us: int
    risk: float
    parts: dict[str, float]


class EntityRisks:
    """Reads one ledger, one thread at a time. A store without a ledger has no risks; none is made."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._ledger: RiskLedger | None = None
        self._using, self._is_closed = threading.Lock(), False

    def of(self, entities: Iterable[str]) -> RisksFound:
        """The risk of each entity that the ledger knows, now."""
        wanted = list(dict.fromkeys(entity for entity in entities if entity))
        url = self._settings.risk_url
        if not wanted or (url is None and not (self._settings.store_dir / FILE).is_file()):
            return RisksFound({})
        now_us = time.time_ns() // 1000
        try:
            with self._using:
                if self._is_closed:
                    return RisksFound({})
                if self._ledger is None:
                    self._ledger = open_ledger(self._settings.store_dir, url)
                found = {entity: self._ledger.find(entity, now_us) for entity in wanted}
        except (LedgerDown, RiskRulesError) as problem:
            return RisksFound({}, f"Risks cannot be read now: {problem}")
        return RisksFound({entity: risk for entity, risk in found.items() if risk is not None})

    def close(self) -> None:
        """Let go of the ledger; nothing is found any more."""
        with self._using:
            self._is_closed = True
            if self._ledger is not None:
                self._ledger.close()

    def over_time(self, risk: Risk, since_us: int, until_us: int, points: int = 60) -> list[RiskPoint]:
        """What the signals that the ledger has say of each moment: those that were said by then, weighed by their age then."""
        try:
            rules = read_rules(self._settings.store_dir)
        except RiskRulesError:
            return []
        signals = {f"{part.signal.kind}/{part.signal.name}": part.signal for part in risk.parts}
        said = [s.at_us for s in signals.values() if since_us < s.at_us <= until_us]
        steps = [since_us + (until_us - since_us) * step // points for step in range(points + 1)]
        times = sorted({*steps, *said, *(at - 1 for at in said)})
        found = []
        for at_us in times:
            known = {name: signal for name, signal in signals.items() if signal.at_us <= at_us}
            then = assess(EntityRecord(entity=risk.entity, signals=known), rules, at_us)
            parts: dict[str, float] = {}
            for part in then.parts:
                parts[part.signal.kind] = parts.get(part.signal.kind, 0.0) + part.log_odds
            found.append(RiskPoint(at_us, then.risk, parts))
        return found
