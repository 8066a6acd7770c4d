"""The ledger of published figures: what a run replaces, since when a target is met, what is refused."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loadtests.bench.errors import BenchError
from loadtests.bench.published import ledger
from loadtests.bench.published.__main__ import main
from loadtests.bench.record import Record, read_all, this_machine, write
from loadtests.bench.report import Row, row, unmeasured
from loadtests.bench.targets import ratio, value

pytestmark = pytest.mark.heavy


def _record(tmp_path: Path, day: int, *rows: Row, name: str = "doors", is_quick: bool = False) -> Record:
    at = datetime(2026, 3, day, 12, tzinfo=UTC)
    write(rows, name, machine=replace(this_machine(), commit=f"c{day}"), at=at, is_quick=is_quick, folder=tmp_path)
    return next(record for record in read_all(tmp_path) if record.name == name)


def _latency(ms: float) -> Row:
    return row("http/vedette/p99", [ms, ms, ms], "ms", target=value("<", 10))


def test_a_figure_keeps_the_day_since_which_its_target_is_met_and_a_change_begins_a_new_one(tmp_path: Path) -> None:
    figures: list[ledger.PublishedFigure] = []
    seen = []
    for day, ms in ((1, 9.0), (2, 8.0), (3, 11.0), (4, 12.0), (5, 9.0)):
        figures = ledger.merged(figures, [_record(tmp_path, day, _latency(ms))])
        seen.append((figures[0].is_met, figures[0].since, figures[0].at))
    assert seen == [
        (True, "2026-03-01", "2026-03-01"),
        (True, "2026-03-01", "2026-03-02"),
        (False, "2026-03-03", "2026-03-03"),
        (False, "2026-03-03", "2026-03-04"),
        (True, "2026-03-05", "2026-03-05"),
    ]


def test_a_target_that_is_another_begins_anew(tmp_path: Path) -> None:
    before = ledger.merged([], [_record(tmp_path, 1, row("a/b", [4.0], "ms", target=value("<", 10)))])
    after = ledger.merged(before, [_record(tmp_path, 2, row("a/b", [4.0], "ms", target=value("<", 5)))])
    assert [(f.target, f.since) for f in after] == [("< 5 ms", "2026-03-02")]


def test_a_run_replaces_its_own_benchmark_only_and_figures_without_target_stay_out(tmp_path: Path) -> None:
    before = ledger.merged(
        [], [_record(tmp_path, 1, _latency(1.0), name="doors"), _record(tmp_path, 1, _latency(2.0), name="tls")]
    )
    free = row("http/bare/p99", [1.0], "ms")
    lost = unmeasured("http/other", "no wrk", target=ratio(">=", 0.8))
    after = ledger.merged(before, [_record(tmp_path, 2, free, lost, name="doors")])
    assert [(f.benchmark, f.name, f.value, f.problem, f.is_met) for f in after] == [
        ("doors", "http/other", None, "no wrk", False),
        ("tls", "http/vedette/p99", 2.0, None, True),
    ]
    assert "could not be measured: no wrk" in ledger.cells(after)[0]


def test_a_ratio_is_shown_with_what_it_is_to(tmp_path: Path) -> None:
    figure = row("h/ours/rps", [80.0, 90.0], "req/s", against=("h/bare/rps", [100.0, 100.0]), target=ratio(">=", 0.8))
    (cells,) = ledger.cells(ledger.merged([], [_record(tmp_path, 1, figure)]))
    assert cells[:5] == ["`h/ours/rps`", ">= 0.8x", "85 req/s (80 to 90), 0.85x of `h/bare/rps`", "yes", "2026-03-01"]


def test_a_quick_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="without --quick"):
        ledger.merged([], [_record(tmp_path, 1, _latency(1.0), is_quick=True)])


def test_the_command_writes_what_it_reads_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, runs = tmp_path / "ledger.json", tmp_path / "runs"
    assert main(["doors", "--folder", str(runs), "--ledger", str(path)]) == 2
    assert "make bench ARGS='doors'" in capsys.readouterr().err
    _record(runs, 1, _latency(1.0))
    assert main(["--folder", str(runs), "--ledger", str(path)]) == 0
    assert [f.value for f in ledger.read(path)] == [1.0]
    path.write_text("{}", encoding="utf-8")
    assert main(["doors", "--folder", str(runs), "--ledger", str(path)]) == 2
    assert "git checkout" in capsys.readouterr().err


def test_a_run_that_failed_is_refused_because_its_targets_would_be_gone(tmp_path: Path) -> None:
    before = ledger.merged([], [_record(tmp_path, 1, _latency(1.0))])
    with pytest.raises(BenchError, match=r"doors could not be measured \(no Redis\)"):
        ledger.merged(before, [_record(tmp_path, 2, unmeasured("doors", "no Redis"))])
    given_up = _record(tmp_path, 2, row("http/vedette/p99", [1.0], "ms"))
    assert ledger.merged(before, [given_up]) == [], "a figure whose target was given up is no failure"
