"""Risks of a window as signals for the ledger of risks (docs/reference/risk.md).

A rank among usual windows is no probability. How strong a rank can be as evidence is bounded: a share p of usual windows that are at least
as unusual speaks for harm by a factor of at most 1 / (-e p ln p), for p < 1/e (Sellke, Bayarri & Berger, 2001, "Calibration of p values for
testing precise null hypotheses", The American Statistician 55). The signal's probability takes that bound from the base rate."""

from typing import Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serving.batch.behaviour.planning import RISK
from serving.batch.behaviour.spec import BehaviourSpec
from serving.batch.data.files import BatchFolder
from serving.batch.output import UnitDone, file_of
from serving.risk.signal import MOST_TEXT, RiskSignal

_COLUMNS: Final = ("window_start", "window_end", "risk", "reasons", "receipt", "receipt_row")


def signals_of(output: BatchFolder, entry: UnitDone, spec: BehaviourSpec, base_rate: float, now_us: int) -> list[RiskSignal]:
    """Signals of the entities whose window is more unusual than 63 % of the reference. entry: of any unit of the job."""
    if not entry.name.startswith(f"{RISK}/"):
        return []
    with output.open(file_of(entry.name)) as stream:
        rows = pq.read_table(stream, columns=[spec.roles.entity, *_COLUMNS]).to_pylist()
    probability = probabilities(np.array([row["risk"] for row in rows], dtype=np.float64), spec.reference.windows, base_rate)
    return [
        RiskSignal(
            entity=row[spec.roles.entity],
            kind="batch",
            name=entry.model,
            probability=float(p),
            at_us=min(int(row["window_end"].timestamp() * 1_000_000), now_us),  # one from the future would not grow old
            id=f"{entry.model}/{row['window_start'].isoformat()}",
            arrived_us=now_us,
            revision=entry.revision,
            receipt=row["receipt"],
            row=row["receipt_row"],
            reasons=tuple(row["reasons"]),
        )
        for row, p in zip(rows, probability.tolist(), strict=True)
        if p > base_rate and 0 < len(row[spec.roles.entity]) <= MOST_TEXT
    ]


def probabilities(risk: NDArray[np.float64], windows: int, base_rate: float) -> NDArray[np.float64]:
    """The probability for each share of the reference that is less unusual, shape (n,). windows: of the reference; none of them being as
    unusual is no better than one in windows + 1."""
    tail = np.clip(1 - risk, 1 / (windows + 1), 1 / np.e)
    odds = base_rate / (1 - base_rate) / (-np.e * tail * np.log(tail))
    return np.asarray(odds / (1 + odds))
