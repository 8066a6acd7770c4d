"""The feature benchmark runs, compares like with like, and reports what `make bench` expects."""

import shutil

import pytest

from loadtests.bench import features


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed; `make services` installs it")
def test_a_quick_run():
    rows = {row.name: row for row in features.run(quick=True, rounds=1)}
    assert set(rows) == {f"features/{way}/32/{figure}" for way in ("feast", "plan") for figure in ("rate", "p50", "p99")}
    assert rows["features/plan/32/rate"].ratio_to == "features/feast/32/rate"
    assert rows["features/plan/32/rate"].ratio > 2  # how much more is for a quiet machine to say
