"""A model that is watched: its reference, and rows that it answers, as arrays and as a prediction log."""

from pathlib import Path
from typing import Any

import numpy as np

from lifecycle.monitoring.watch.reference import ModelReference, build_reference
from lifecycle.monitoring.windows.answered import AnsweredRows
from serving.audit.encoding import encode_record
from serving.models.manifest import OperatingPoint
from tests.fakes.serving.records import record

PROTOCOLS = ("tcp", "udp", "icmp")
POINT = OperatingPoint(threshold=0.9, investigate=0.7, requirement="none")
START_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
MODEL = "flows"


def values(rng: np.random.Generator, n: int, *, shift: float = 0.0, scores: float = 0.0, tcp: float = 0.8) -> dict[str, Any]:
    """Columns and scores of n rows. shift: of the column `bytes`. scores: added to them. tcp: share of that protocol."""
    rest = (1 - tcp) / 2
    return {
        "columns": {
            "bytes": rng.normal(shift, 1, n),
            "count": rng.poisson(0.7, n).astype(np.float64),
            "proto": rng.choice(np.array(PROTOCOLS, dtype=object), n, p=[tcp, rest, rest]),
        },
        "score": np.clip(rng.beta(2, 5, n) + scores, 0, 1),
    }


def reference(seed: int = 99, rows: int = 1000) -> ModelReference:
    """What training writes into a bundle, of rows that nothing has shifted."""
    found = values(np.random.default_rng(seed), rows)
    sample = {
        "columns": {name: column.tolist() for name, column in found["columns"].items()},
        "score": found["score"].tolist(),
    }
    return build_reference(sample, {}, POINT)


def answered(
    rng: np.random.Generator,
    n: int,
    *,
    begin: int = 0,
    revision: str = "r1",
    version: str = "1",
    variant: str = "stable",
    **how: Any,
) -> AnsweredRows:
    """n rows, one a second. begin: number of the first one."""
    found = values(rng, n, **how)
    numbers = np.arange(begin, begin + n)
    return AnsweredRows(
        model=MODEL,
        receipts=_objects([f"{number:x}" for number in numbers]),
        rows=np.zeros(n, dtype=np.int64),
        events=_objects([f"{number:x}" for number in numbers]),
        times_us=START_US + numbers * SECOND_US,
        versions=_objects([version] * n),
        revisions=_objects([revision] * n),
        variants=_objects([variant] * n),
        columns=found["columns"],
        scores=found["score"],
        verdicts=np.zeros(n, dtype=np.int8),
        degraded=np.zeros(n, dtype=np.bool_),
    )


def append_to_log(folder: Path, rows: AnsweredRows) -> None:
    """Append rows to the prediction log of a folder, one record each."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for n in range(len(rows)):
        fields = {"bytes": ("FP64", rows.columns["bytes"][n]), "count": ("FP64", rows.columns["count"][n])}
        inputs = {name: {"datatype": kind, "shape": [1], "data": [float(value)]} for name, (kind, value) in fields.items()}
        inputs["proto"] = {"datatype": "BYTES", "shape": [1], "data": [rows.columns["proto"][n]]}
        lines.append(
            encode_record(
                record(
                    receipt=rows.receipts[n], time_us=int(rows.times_us[n]), model=rows.model, version=rows.versions[n],
                    revision=rows.revisions[n], variant=rows.variants[n], inputs=inputs, features={}, event_times_us={},
                    scores=[float(rows.scores[n])],
                )
            )
        )  # fmt: skip
    with (folder / f"segment-{START_US:016d}-replica-000001.jsonl").open("ab") as log:
        log.write(b"".join(lines))


def _objects(found: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(found), dtype=object)
    array[:] = found
    return array
