"""The feature benchmark runs, compares like with like, and reports what `make bench` expects."""

import shutil

import pytest

from loadtests.bench.benchmarks import features
from loadtests.bench.worlds import feature_changes
from loadtests.bench.worlds.feature_changes import changing
from loadtests.bench.worlds.featured import rows_of
from loadtests.bench.worlds.raw_read import commands_for, read_raw


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed; `make services` installs it")
def test_a_quick_run():
    rows = {row.name: row for row in features.run(quick=True, rounds=1)}
    assert set(rows) == {f"features/{way}/32/{figure}" for way in ("feast", "plan") for figure in ("rate", "p50", "p99")}
    assert rows["features/plan/32/rate"].ratio_to == "features/feast/32/rate"
    assert rows["features/plan/32/rate"].ratio > 2  # how much more is for a quiet machine to say


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed; `make services` installs it")
def test_a_store_is_read_raw_and_changed_under_way(tmp_path, monkeypatch):
    for module in (features, feature_changes):
        monkeypatch.setattr(module, "HOSTS", 100)
    with features.redis_server() as url:
        feast = features.fill(tmp_path, url)
        names, values = rows_of(feast, ["host-0", "host-7"])
        assert (len(names), values.shape) == (20, (2, 20))
        commands = commands_for(url)
        assert len(commands) == features.HOSTS
        assert {command.split(b"\r\n", 1)[0] for command in commands} == {b"*25"}  # command, key, 20 features, 3 times
        taken = read_raw(url, commands, readers=4, duration_s=0.3)
        assert 0 < taken.p50_ms <= taken.p99_ms
        registry = tmp_path / "feast" / "registry.db"
        before = registry.stat().st_mtime_ns
        with changing(tmp_path / "feast", url, "registry", 1.0) as changes:
            assert changes.rate() > 0
        assert registry.stat().st_mtime_ns > before
        with changing(tmp_path / "feast", url, "rows", 1.0) as changes:
            assert changes.rate() > 100
