"""Legal holds: conditions on records that nobody may remove. The log of governed acts says which holds are in force.

A file `FOLDER/holds/NAME.json` beside the prediction log tells the replicas that there is a hold: while there is one, no replica removes
old segments to limit their number. Removing that file releases nothing: retention asks the acts."""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lifecycle.governance.acts import Act
from lifecycle.governance.archive.archiving import RecordsAct
from lifecycle.governance.archive.query import LogQuery
from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.governance.archive.retention import held_query
from serving.audit.holds import hold_file

ADD: Final = "hold.add"
RELEASE: Final = "hold.release"


class HoldError(Exception):
    """A hold cannot be added or released; the message says why."""


@dataclass(frozen=True, slots=True)
class LegalHold:
    """Records for which `where` is true must stay. where: an SQL condition over the view `records`."""

    name: str
    where: str
    reason: str
    by: str
    time_us: int


def holds_in(acts: Iterable[Act]) -> list[LegalHold]:
    """The holds that are in force, oldest first."""
    held: dict[str, LegalHold] = {}
    for act in acts:
        name = act.subject.removeprefix("hold/")
        if act.outcome != "accepted":
            continue
        if act.action == ADD:
            held[name] = LegalHold(name, str(act.evidence.get("where", "true")), act.reason, act.actor, act.time_us)
        elif act.action == RELEASE:
            held.pop(name, None)
    return list(held.values())


def add_hold(log: RecordLog, where: str, reason: str, record: RecordsAct) -> tuple[str, int]:
    """Put a hold in force; its name, and how many segments it matches now. Raises QueryError if the condition cannot be evaluated."""
    matched = len(LogQuery(log).run(held_query(where), most_rows=10_000_000).lines)
    name = secrets.token_hex(4)
    record(ADD, f"hold/{name}", reason, {"where": where, "segments": matched})
    path = hold_file(log.folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"where": where, "reason": reason}) + "\n", encoding="utf-8")
    return name, matched


def release_hold(folder: Path, held: Iterable[LegalHold], name: str, reason: str, record: RecordsAct) -> None:
    """End a hold. Raises HoldError if it is not in force."""
    names = [hold.name for hold in held]
    if name not in names:
        raise HoldError(f"no hold {name!r} is in force; there are {names or 'none'}")
    record(RELEASE, f"hold/{name}", reason, {})
    hold_file(folder, name).unlink(missing_ok=True)
