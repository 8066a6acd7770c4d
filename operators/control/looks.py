"""The evidence over time: one line a look of the rollout under way, for people's plots. No decision depends on it; it may be lost."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from operators.rollout.status import RolloutStatus


@dataclass(frozen=True, slots=True)
class EvidencePoint:
    """What one look found. gates: e-values (worse, no worse) by gate. requests: the candidate's."""

    at: datetime
    weight: float
    mirror: float
    step: int
    requests: int
    gates: dict[str, tuple[float, float]]


def append_look(path: Path, before: RolloutStatus, after: RolloutStatus) -> None:
    """Add this look, if it judged anything; a rollout that starts begins a new file."""
    seen = after.assessment
    if after.started != before.started and after.started is not None:
        path.unlink(missing_ok=True)
    if not seen.gates or seen.at is None or seen.at == before.assessment.at:
        return
    line = {
        "at": seen.at.isoformat(),
        "weight": after.weight,
        "mirror": after.mirror,
        "step": after.step_index,
        "requests": seen.requests,
        "gates": {g.name: [g.e_worse, g.e_no_worse] for g in seen.gates},
    }
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def read_looks(path: Path) -> tuple[EvidencePoint, ...]:
    """Every look that was written whole."""
    return tuple(_looks(path)) if path.is_file() else ()


def _looks(path: Path) -> Iterator[EvidencePoint]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        gates = {name: (float(e[0]), float(e[1])) for name, e in found.pop("gates").items()}
        yield EvidencePoint(**{**found, "at": datetime.fromisoformat(found["at"]), "gates": gates})
