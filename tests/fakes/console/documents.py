"""Services of a folder as the loop leaves them, without a loop: documents, statuses, series of evidence."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from operators.control.folder import ControlFolder
from operators.rollout.spec import Revision
from tests import quick_yaml as yaml

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
STEPS = [
    {"mirror": {"percent": 100}},
    {"setWeight": 5},
    {"analysis": {}},
    {"approval": {"roles": ["detection-lead", "soc-manager"]}},
    {"setWeight": 100},
]
GATES = [{"name": "errors", "margin": 0.03}, {"name": "latency", "margin": 0.05}, {"name": "alertRate", "margin": 0.05}]


def revision(version: int) -> Revision:
    return Revision(version=str(version), bundle=f"sha256:{version:064x}")


def put_service(
    store_dir: Path,
    name: str,
    *,
    version: int = 2,
    status: Mapping[str, Any] | None = None,
    steps: list[dict[str, Any]] | None = None,
) -> None:
    """A service. status: of its rollout, fields as in JSON; None: nobody has looked at it yet."""
    folder = ControlFolder(store_dir).folder
    (folder / "services").mkdir(parents=True, exist_ok=True)
    spec = {
        "revision": revision(version).model_dump(mode="json", by_alias=True),
        "rollout": {"policy": {"steps": steps or STEPS, "analysis": {"gates": GATES}}},
    }
    document = {"apiVersion": "vedette.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": name}, "spec": spec}
    (folder / "services" / f"{name}.yaml").write_text(yaml.safe_dump(document))
    if status is not None:
        (folder / f"{name}.status.json").write_text(json.dumps({"rollout": status}))


def under_way(step: int = 2, phase: str = "Progressing", why: str = "recall is up on DNS", **more: Any) -> dict[str, Any]:
    """A rollout from version 1 to 2 that stands at this step (from 0)."""
    gates = [
        gate("errors", 4.2, 3.1, (9000, 90), (500, 5), 400),
        gate("latency", 0.3, 25.0, (9000, 200), (500, 9), None, "no_worse"),
        gate("alertRate", 1.4, 1.2, (9000, 450), (500, 26), 2100),
    ]
    return {
        "phase": phase,
        "stable": revision(1).model_dump(mode="json", by_alias=True),
        "candidate": revision(2).model_dump(mode="json", by_alias=True),
        "stepIndex": step,
        "started": AT.isoformat(),
        "startedBy": "ada",
        "attempt": "20260105T090000.000000Z",
        "weight": 5.0,
        "mirror": 0.0,
        "isReady": True,
        "waitingFor": "evidence: about 2,100 more requests",
        "assessment": {
            "verdict": "undecided",
            "reason": "alertRate is undecided",
            "gates": gates,
            "requests": 500,
            "more": 2100,
            "at": AT.isoformat(),
        },
        "moves": [
            {"at": AT.isoformat(), "move": "start", "by": "ada", "reason": why},
            {
                "at": (AT + timedelta(minutes=5)).isoformat(),
                "move": "setWeight",
                "weight": 5.0,
                "step": 2,
                "reason": "step 1 passed",
            },
        ],
        **more,
    }


def healthy(**more: Any) -> dict[str, Any]:
    """Nothing is under way; the last rollout was promoted."""
    first, second = (revision(n).model_dump(mode="json", by_alias=True) for n in (1, 2))
    last = {
        "candidate": second, "stable": first, "started": AT.isoformat(), "ended": (AT + timedelta(hours=2)).isoformat(),
        "outcome": "promoted", "by": "operator", "reason": "all 5 steps passed",
    }  # fmt: skip
    return {"phase": "Healthy", "stable": second, "history": [last], **more}


def gate(
    name: str,
    worse: float,
    no_worse: float,
    stable: tuple[int, int],
    candidate: tuple[int, int],
    more: int | None,
    verdict: str = "undecided",
) -> dict[str, Any]:
    return {
        "name": name,
        "verdict": verdict,
        "eWorse": worse,
        "eNoWorse": no_worse,
        "stable": stable,
        "candidate": candidate,
        "more": more,
    }


def put_looks(store_dir: Path, name: str, looks: int = 60) -> None:
    """A series of evidence: `errors` grows worse, the others better."""
    lines = [_look(i, is_split=i >= looks // 2) for i in range(looks)]
    path = ControlFolder(store_dir).looks_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _look(i: int, *, is_split: bool) -> dict[str, Any]:
    gates = {
        "errors": [math.exp(0.02 * i), math.exp(0.01 * i)],
        "latency": [0.5, math.exp(0.05 * i)],
        "alertRate": [1.0, 1.0 + 0.01 * i],
    }
    split = {"weight": 5.0, "mirror": 0.0, "step": 1} if is_split else {"weight": 0.0, "mirror": 100.0, "step": 0}
    return {"at": (AT + timedelta(seconds=10 * i)).isoformat(), "requests": 10 * i, "gates": gates, **split}
