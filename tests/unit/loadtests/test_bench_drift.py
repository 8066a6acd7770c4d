"""The benchmark of drift reports: its pairs are what they say, and power is counted against each detector's own unchanged draws."""

import numpy as np
import pytest

from loadtests.bench.benchmarks.evidence import drift
from loadtests.bench.worlds.planted_shifts import SHIFTS, sample, write


@pytest.mark.parametrize("kind", SHIFTS)
def test_a_shift_changes_its_own_columns_only(kind):
    columns = sample(np.random.default_rng(0))
    shifted = SHIFTS[kind](np.random.default_rng(1), columns)
    changed = {name for name, column in columns.items() if not np.array_equal(column, shifted[name])}
    assert changed == {"category": {"service"}, "correlation": {"first", "second"}}.get(kind, {"normal"})


def test_power_is_counted_against_the_detectors_own_unchanged_draws():
    null = {f"none-{i}": float(i) for i in range(100)}
    assert drift.which_are_found("mean", null | {"mean-0": 98.0, "mean-1": 50.0}).tolist() == [True, False]
    rows = drift.power_rows("mean", {"vedette": null | {"mean-0": 98.0}, "evidently": null | {"mean-0": 1.0}})
    assert [(r.name, r.value, r.is_met) for r in rows] == [
        ("found/vedette/mean", 1.0, True),
        ("found/evidently/mean", 0.0, None),
    ]


@pytest.mark.parametrize(("found", "windows"), [
    pytest.param([True, True], 1.0, id="found at once: one window"),
    pytest.param([False, False, True], 2.0, id="the third of three: three, two or one"),
    pytest.param([True, False, False, True], (1 + 3 + 2 + 1) / 4, id="over every window as the first"),
    pytest.param([False, False], None, id="never found: no figure"),
])  # fmt: skip
def test_delay_is_the_windows_until_one_is_found(found, windows):
    assert drift.windows_until_found(np.array(found)) == windows


def test_a_detector_that_never_finds_a_shift_has_no_delay_and_misses_its_target():
    null = {f"none-{i}": float(i) for i in range(100)}
    rows = drift.delay_rows("mean", {"vedette": null | {"mean-0": 0.0}, "evidently": null | {"mean-0": 99.0}})
    assert [(r.name, r.value, r.is_met) for r in rows] == [
        ("delay/vedette/mean", None, False),
        ("delay/evidently/mean", 1.0, None),
    ]


@pytest.mark.heavy
def test_vedettes_own_program_judges_every_file_of_a_folder(tmp_path):
    rng = np.random.default_rng(2)
    old = sample(rng)
    write(tmp_path / "none-0.npz", old, sample(rng))
    write(tmp_path / "mean-0.npz", old, SHIFTS["mean"](rng, sample(rng)))
    found = drift.asked("vedette", tmp_path)
    assert found["mean-0"]["statistic"] > found["none-0"]["statistic"]
