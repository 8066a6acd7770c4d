"""A stream of known precision and recall as a store has it: a bundle, a prediction log, and labels that come late."""

from pathlib import Path

import numpy as np

from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
from lifecycle.performance.delays import DAY_US
from lifecycle.performance.labelled_rows import ATTACK, BY_AUDIT, RowsWithLabels
from lifecycle.training.calibrate import venn_abers
from loadtests.bench.worlds.late_labels import START_US, LateWorld
from serving.audit.encoding import encode_record
from serving.models.build import build_bundle
from serving.models.store import BundleStore
from tests.fakes.serving.records import record
from tests.unit.serving.scoring.variants import graph

MODEL = "late"
WORLD = LateWorld("small", rows_a_day=400, attack_share=0.2, alert_rate=0.7, audit_rate=0.3)
PROTOCOLS = ("tcp", "udp")


def late_store(
    store: Path, world: LateWorld = WORLD, *, days: int = 12, seed: int = 0, wanted: LateWorld | None = None
) -> RowsWithLabels:
    """Fill a store; the rows with every label that ever comes. wanted: whose figures the bundle has; None: the world's."""
    rng = np.random.default_rng(seed)
    rows = world.draw(rng, days, np.inf)
    validation = (wanted or world).draw(np.random.default_rng(seed + 1), 20, np.inf)
    scores = _probability(validation.scores)
    attack = rng.random(len(scores)) < _posterior(wanted or world, validation.scores)
    truth = (wanted or world).truth
    point = {"threshold": float(_probability(np.array([world.threshold]))[0]), "investigate": 0.0, "requirement": "f1"}
    expected = {
        **{name: truth[name] for name in ("precision", "recall", "f1")}, "false_alarm_rate": 0.01,
        "attack_share": world.attack_share, "rows": len(scores),
    }  # fmt: skip
    built = build_bundle(
        store.parent / f"bundle-{seed}", model=graph(1.0), files={}, name=MODEL, version="1", score={"output": "risk"},
        operating_points={"all": point | {"expected": expected}}, default_operating_point="all",
        calibration=venn_abers(scores.astype(np.float32), attack).model_dump(),
    )  # fmt: skip
    BundleStore(store).add(built)
    _write_log(store / "audit", rows)
    _give_labels(store / "labels", rows, world)
    return rows


def _posterior(world: LateWorld, log_odds: np.ndarray) -> np.ndarray:
    prior = np.log(world.attack_share / (1 - world.attack_share))
    return np.asarray(1 / (1 + np.exp(-(prior + world.apart * log_odds))))


def _probability(log_odds: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def _write_log(folder: Path, rows: RowsWithLabels) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for n, (time_us, score, alert) in enumerate(
        zip(rows.times_us.tolist(), _probability(rows.scores).tolist(), rows.alert.tolist(), strict=True)
    ):
        proto = {"datatype": "BYTES", "shape": [1], "data": [PROTOCOLS[n % 2]]}
        lines.append(
            encode_record(
                record(
                    receipt=f"r-{n:x}", time_us=time_us, model=MODEL, inputs={"proto": proto}, features={}, event_times_us={},
                    scores=[score], verdicts=["alert" if alert else "benign"],
                )
            )
        )  # fmt: skip
    (folder / f"segment-{START_US:016d}-replica-000001.jsonl").write_bytes(b"".join(lines))


def _give_labels(folder: Path, rows: RowsWithLabels, world: LateWorld) -> None:
    labels = []
    for n in np.flatnonzero(rows.route > 0).tolist():
        is_audit = rows.route[n] == BY_AUDIT
        verdict = "attack" if rows.label[n] == ATTACK else "benign" if rows.label[n] == 0 else "unsure"
        labels.append(
            Label(
                label_id=f"l-{n}", event=f"r-{n:x}", model=MODEL, verdict=verdict, analyst="ada", source="file",
                time_us=int(rows.times_us[n] + rows.delay_us[n]), selection="audit" if is_audit else "alert",
                inclusion=world.audit_rate if is_audit else None,
                family=("scan" if n % 3 else "dos") if verdict == "attack" else None,
            )
        )  # fmt: skip
    labels.sort(key=lambda label: label.time_us)
    LabelLog(folder, now_us=lambda: START_US + 400 * DAY_US).give_all(labels)
