"""Where the records of entities are kept: the port, and one step of it that every adapter shares."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from serving.risk.assess import Risk, assess
from serving.risk.entity_record import EntityRecord, RiskChange, with_change, with_pending, with_signal, without_old
from serving.risk.rules_of_risk import RiskRules
from serving.risk.signal import PendingCheck, RiskSignal

NOTABLE: Final = 0.1
"""A change of the risk by this much is kept with the record, as is every change of level."""


class LedgerDown(Exception):
    """The ledger cannot be asked or written now; the message says which, why, and whether trying again can help."""


@dataclass(frozen=True, slots=True)
class RiskUpdate:
    """What signals changed: the risk before and after, both at the time of the update."""

    before: Risk
    after: Risk

    @property
    def is_notable(self) -> bool:
        """Whether people should hear of it."""
        return self.before.level != self.after.level or abs(self.after.risk - self.before.risk) >= NOTABLE


class RiskLedger(Protocol):
    """Records of entities. Several processes may write; what is added once is not lost, and what comes twice counts once."""

    def add(self, signals: Sequence[RiskSignal], pending: Sequence[PendingCheck], now_us: int) -> list[RiskUpdate]:
        """Take in signals and checks that were asked for; durable when it returns. Gives an update for each entity whose record changed.

        Raises WrongSignal before anything is written, LedgerDown."""
        ...

    def find(self, entity: str, now_us: int) -> Risk | None:
        """The risk of an entity now; None if nothing was ever said of it. Raises LedgerDown."""
        ...

    def highest(self, most: int, now_us: int, is_wanted: Callable[[str], bool] | None = None) -> list[Risk]:
        """Entities with the highest risk now, highest first; of those that are wanted, if that is asked. Raises LedgerDown."""
        ...

    def forget_before(self, until_us: int) -> int:
        """Remove entities that were not heard of since; how many. Raises LedgerDown."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


def by_entity(
    signals: Iterable[RiskSignal], pending: Iterable[PendingCheck]
) -> Mapping[str, tuple[list[RiskSignal], list[PendingCheck]]]:
    """Signals and checks of each entity. Raises WrongSignal."""
    found: dict[str, tuple[list[RiskSignal], list[PendingCheck]]] = {}
    for signal in signals:
        signal.check()
        found.setdefault(signal.entity, ([], []))[0].append(signal)
    for check in pending:
        found.setdefault(check.entity, ([], []))[1].append(check)
    return found


def updated(
    record: EntityRecord,
    signals: Sequence[RiskSignal],
    pending: Sequence[PendingCheck],
    rules: RiskRules,
    now_us: int,
) -> tuple[EntityRecord, RiskUpdate | None]:
    """One entity's record after signals and checks, and what changed; None if nothing did. Checks come first: a signal may end them."""
    before, after, because = assess(record, rules, now_us), record, None
    for check in pending:
        after = with_pending(after, check)
    for signal in signals:
        grown = with_signal(after, signal, rules)
        because = signal if grown is not after else because
        after = grown
    if after is record:
        return record, None
    after = without_old(after, rules, now_us)
    update = RiskUpdate(before, assess(after, rules, now_us))
    if because is not None and update.is_notable:
        after = with_change(after, _change(update, because, now_us))
        update = RiskUpdate(before, assess(after, rules, now_us))
    return after, update


def _change(update: RiskUpdate, because: RiskSignal, now_us: int) -> RiskChange:
    return RiskChange(
        at_us=now_us,
        before=update.before.risk,
        after=update.after.risk,
        because=f"{because.kind}/{because.name} {because.id}",
        late_s=max((now_us - because.at_us) / 1e6, 0.0),
    )
