"""What the services of this machine remember of their rollouts, as facts of a lineage graph and of a model card."""

from collections.abc import Iterable
from pathlib import Path

from lifecycle.governance.lineage.facts import RolloutFact, RolloutMove
from operators.control.folder import ControlFolder
from operators.rollout.status import HistoryEntry, RolloutStatus


def rollout_facts(store_dir: Path, bundle: str = "") -> list[RolloutFact]:
    """Every rollout that the services of this machine remember, the oldest of a service first. bundle: only of services that mention this
    digest. Raises DamagedState."""
    folder = ControlFolder(store_dir)
    found: list[RolloutFact] = []
    for name in sorted({*folder.names(), *folder.orphans()}):
        if bundle and not folder.mentions(name, bundle):
            continue
        status = folder.status(name)
        if status is not None:
            found += _rollouts(name, status)
    return found


def _rollouts(service: str, status: RolloutStatus) -> list[RolloutFact]:
    facts = [
        RolloutFact(
            service, number, ended.candidate.serving(), ended.stable.serving() if ended.stable else None,
            ended.started.isoformat(), ended.ended.isoformat(), ended.outcome, ended.by, ended.reason,
            _moves(ended.moves),
        )
        for number, ended in enumerate(reversed(status.history), start=1)
    ]  # fmt: skip
    if status.candidate is not None:
        started = status.started.isoformat() if status.started else ""
        stable = status.stable.serving() if status.stable else None
        facts.append(
            RolloutFact(
                service, len(facts) + 1, status.candidate.serving(), stable, started, None, "under way", status.started_by,
                status.message, _moves(status.moves),
            )
        )  # fmt: skip
    return facts


def _moves(entries: Iterable[HistoryEntry]) -> tuple[RolloutMove, ...]:
    return tuple(RolloutMove(e.at.isoformat(), e.move, e.by, e.reason, e.weight) for e in entries)
