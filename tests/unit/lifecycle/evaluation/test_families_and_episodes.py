"""Figures of attacks: by family, as they were named, and by episode."""

import numpy as np
import pytest
from sklearn import metrics as reference

from lifecycle.evaluation.attacks import by_episode, by_family, family_names, named_families
from lifecycle.evaluation.scored import BENIGN_CLASS, Scored
from lifecycle.metrics.intervals import wilson
from serving.models.manifest import OperatingPoint
from tests.unit.lifecycle.declared import detector

POINT = OperatingPoint(threshold=0.5, investigate=0.2, requirement="f1 >= 0.85")
POINTS = {"siem_alerting": POINT}
FAMILIES = ("dos", "probe")


def scored(n=300, **changes):
    rng = np.random.default_rng(4)
    family = rng.choice(np.array([BENIGN_CLASS, *FAMILIES], dtype=object), n)
    attack = family != BENIGN_CLASS
    body = {
        "score": np.clip(rng.normal(0.35 + 0.3 * attack, 0.2), 0, 1).astype(np.float32),
        "attack": attack, "verified": np.ones(n, dtype=bool), "entity": None, "at_us": None, "segments": {},
        "family": family, "answered_family": np.where(rng.random(n) < 0.8, np.where(attack, family, "dos"), "probe").astype(object),
    }  # fmt: skip
    return Scored(**{**body, **changes})


def test_recall_by_family_counts_the_alerts_of_each():
    rows = scored()
    for found in by_family(rows, POINTS):
        mine = rows.family == found.family
        assert found.attacks == mine.sum()
        assert found.recall == wilson(int((rows.score[mine] >= 0.5).sum()), int(mine.sum()))
    assert {f.family for f in by_family(rows, POINTS)} == set(FAMILIES)
    assert by_family(scored(family=None), POINTS) == ()


def test_named_families_agree_with_scikit_learn():
    rows = scored()
    got = named_families(rows, "siem_alerting", POINT, FAMILIES)
    answer = np.where(rows.score >= 0.5, rows.answered_family, BENIGN_CLASS)
    labels = [BENIGN_CLASS, *FAMILIES]
    assert got.matrix.counts.tolist() == reference.confusion_matrix(rows.family, answer, labels=labels).tolist()
    for kind, found in (("macro", got.macro), ("micro", got.micro)):
        expected = reference.precision_recall_fscore_support(rows.family, answer, labels=list(FAMILIES), average=kind)[:3]
        assert [found[n].value for n in ("precision", "recall", "f1")] == pytest.approx(expected)
        assert all(i.low < i.value < i.high for i in found.values())


def test_each_class_has_bounds_by_entity_where_rows_of_one_are_alike():
    """The same rows, thirty of each host."""
    rows, hosts = scored(), np.array([f"h{i // 30}" for i in range(300)], dtype=object)
    free = named_families(rows, "p", POINT, FAMILIES)
    tied = named_families(scored(entity=hosts), "p", POINT, FAMILIES)
    for name, figures in free.classes.items():
        matrix = next(f for f in free.matrix.figures() if f.name == name)
        assert figures["precision"] == matrix.precision
        assert figures["f1"].value == matrix.f1
        assert {n: i.value for n, i in tied.classes[name].items()} == {n: i.value for n, i in figures.items()}
        assert {i.method for i in tied.classes[name].values()} == {"bootstrap"}
    assert (tied.accuracy.value, tied.accuracy.units, free.accuracy.units) == (free.accuracy.value, 10, 300)


def test_a_family_that_is_not_declared_has_a_class_of_its_own():
    rows = scored(family=np.where(np.arange(300) < 5, "worm", scored().family).astype(object))
    assert named_families(rows, "p", POINT, FAMILIES).matrix.classes == (BENIGN_CLASS, *FAMILIES, "worm")
    assert named_families(scored(answered_family=None), "p", POINT, FAMILIES) is None


def test_types_are_told_by_the_declared_families():
    declared = detector(split={"by": "rows", "families": {"dos": ["smurf"]}})
    kind, attack = np.array(["smurf", "new", "normal"], dtype=object), np.array([True, True, False])
    assert family_names(declared, kind, attack).tolist() == ["dos", "other", BENIGN_CLASS]
    assert family_names(detector(), kind, attack).tolist() == ["smurf", "new", BENIGN_CLASS]
    assert family_names(detector(), None, attack) is None


def test_time_to_detect_by_episode():
    """Host a is found after 30 s, host b at once and once never; benign rows of c do not count."""
    second = 1_000_000
    rows = Scored(
        score=np.array([0.1, 0.9, 0.9, 0.1, 0.9], dtype=np.float32), attack=np.array([True, True, True, True, False]),
        verified=np.ones(5, dtype=bool), entity=np.array(["a", "a", "b", "b", "c"], dtype=object),
        at_us=np.array([0, 30, 0, 1000, 0]) * second, segments={},
    )  # fmt: skip
    (found,) = by_episode(rows, POINTS, gap_s=60)
    assert (found.episodes, found.entities) == (3, 2)
    assert found.detected.value == pytest.approx(2 / 3)
    assert found.detected.low < 0.5, "two hosts do not say much"
    assert found.delays_s[0.5].value == 30
    assert found.delays_s[0.9].value is None, "fewer were found"
    assert by_episode(scored(), POINTS, gap_s=60) == ()
