"""NSL-KDD: a champion of KDDTrain+ meets half of KDDTest+, few of whose rows are labelled; its challenger is judged on the other half."""

import os
from pathlib import Path

import numpy as np
import pytest

from lifecycle.datasets.data import read_data
from lifecycle.datasets.declarations import read_detector
from lifecycle.evaluation.held_out import HeldOutRows
from lifecycle.evaluation.scoring import row_scores
from lifecycle.labels.label import Label
from lifecycle.monitoring.windows.answered import AnsweredRows
from lifecycle.retraining.policy import parse_policy
from lifecycle.retraining.run import advance
from lifecycle.retraining.surroundings import Surroundings
from lifecycle.training.train import add_to_store, prepare, train
from serving.models.store import BundleStore
from tests.fakes.acts import MemoryActs
from tests.fakes.releases import MemoryReleases

DATA = Path(os.environ.get("VEDETTE_DATA_DIR", "")) / "nsl-kdd"
pytestmark = [pytest.mark.soak, pytest.mark.skipif(not DATA.is_dir(), reason="VEDETTE_DATA_DIR has no nsl-kdd")]
POLICY = "strategies: {active: {min_new_labels: 100}}\nchallenge: {newest: {undecided: as_seen}}"
START_US, STEP_US = 1_772_409_600_000_000, 10_000_000


def answered(frame, columns, scores, alert):
    n = len(frame)
    names = np.array([f"r{i}" for i in range(n)], dtype=object)
    same = {"versions": "1", "revisions": "r", "variants": "stable"}
    return AnsweredRows(
        model="nsl-kdd", receipts=names, rows=np.zeros(n, dtype=np.int64), events=names, times_us=START_US + np.arange(n) * STEP_US,
        columns={c: frame[c].to_numpy(dtype=object if frame[c].dtype == object else np.float64) for c in columns},
        scores=scores.astype(np.float64), verdicts=np.where(alert, 2, 0).astype(np.int8), degraded=np.zeros(n, dtype=bool),
        **{name: np.full(n, value, dtype=object) for name, value in same.items()},
    )  # fmt: skip


def test_few_labels_of_new_attacks_make_a_better_model_that_forgets_nothing(tmp_path):
    detector = read_detector("nsl-kdd")
    base, later = (read_data(detector, DATA / name) for name in (detector.source.train, detector.source.test))
    prepared = prepare(detector, base, None, with_test=False)
    store = BundleStore(tmp_path / "store")
    champion = add_to_store(train(prepared), store)
    rng = np.random.default_rng(0)
    is_new = rng.random(len(later)) < 0.5
    new, kept = later.take(is_new), later.take(~is_new)
    scores = row_scores(champion, new.frame)
    alert = scores >= champion.manifest.operating_points[champion.manifest.default_operating_point].threshold
    answers = answered(new.frame, detector.request_fields, scores, alert)
    inclusion = np.where(alert, 0.10, 0.05)
    end_us = START_US + len(new) * STEP_US
    labels = {
        f"r{i}": Label(
            label_id=f"l{i}", event=f"r{i}", model="nsl-kdd", verdict="attack" if new.attack[i] else "benign", analyst="ada",
            time_us=end_us,
            family=str(new.kind[i]) if new.attack[i] else None, selection="alert" if alert[i] else "audit", inclusion=float(inclusion[i]),
        )
        for i in np.flatnonzero(rng.random(len(new)) < inclusion).tolist()
    }  # fmt: skip
    acts = MemoryActs()
    acts.read = lambda: list(acts.acts)
    at = Surroundings(
        model="nsl-kdd", folder=tmp_path / "retraining", actor="ada", releases=MemoryReleases(store, champion.digest), acts=acts,
        base=lambda declared: prepared, answers=lambda since_us: answers, labels=lambda: labels, alarms=lambda: (),
        test=lambda declared: HeldOutRows(kept, kept.frame, "test file", None),
    )  # fmt: skip
    look = advance(at, parse_policy(POLICY, where="test"), end_us + 1)
    assert look.ended.outcome == "rolled_out", look.words
    gates = {(g.kind, g.subject, g.figure): g for g in look.challenged.gates}
    for gate in gates.values():
        print(gate.words)
    assert gates["kept", "", "recall"].verdict == "better"
    assert gates["kept", "", "recall"].challenger > 0.98
    assert gates["kept", "", "false_alarm_rate"].verdict in ("better", "no_worse")
    assert gates["left_out", "r2l", "recall"].verdict == "better"
    assert gates["family", "u2r", "recall"].verdict == "better"
