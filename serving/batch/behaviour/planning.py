"""The units of a behavioural model: for each window a table of peers, then one of risks that looks at the peers before. Core."""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from serving.batch.job import BehaviourWindows
from serving.batch.plan import SECOND_US, InputFile, WorkUnit, plan_windows

PEERS: Final = "peers"
RISK: Final = "risk"
"""Folders within the output."""


def behaviour_units(
    files: Sequence[InputFile],
    windows: BehaviourWindows,
    *,
    identity: str,
    since_us: int | None = None,
    until_us: int | None = None,
) -> list[list[WorkUnit]]:
    """Peers of all windows, then risks. A change of a window changes the keys of all that look back on it."""
    every = plan_windows(files, identity=identity, window_s=windows.window_s)
    peers = [msgspec.structs.replace(unit, name=f"{PEERS}/{unit.name}", rows=unit.rows) for unit in every]
    risks = []
    for at, unit in enumerate(every):
        start = unit.from_us or 0
        if (since_us is not None and start < since_us) or (until_us is not None and start >= until_us):
            continue
        before = [p for p in peers[:at] if (p.from_us or 0) >= start - windows.history_s * SECOND_US]
        text = msgspec.json.encode([unit.key, [p.key for p in before]])
        key = f"sha256:{hashlib.sha256(text).hexdigest()}"
        risks.append(msgspec.structs.replace(unit, name=f"{RISK}/{unit.name}", key=key, after=tuple(p.name for p in before)))
    if since_us is not None or until_us is not None:
        wanted = {name for risk in risks for name in risk.after} | {f"{PEERS}/{u.name.removeprefix(f'{RISK}/')}" for u in risks}
        peers = [p for p in peers if p.name in wanted]
    return [peers, risks]
