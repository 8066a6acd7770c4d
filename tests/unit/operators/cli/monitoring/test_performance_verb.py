"""`vedette performance`: figures from a store's log and labels, as they were at any time."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from loadtests.bench.worlds.late_labels import START_US
from operators.cli.main import app
from tests.fakes.monitoring.late_stream import MODEL, WORLD, late_store

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("late") / "store"
    late_store(folder)
    return folder


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")


def day(number: float) -> str:
    return (datetime.fromtimestamp(START_US / 1e6, UTC) + timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%S")


def performance(store, *words: str, model: str = MODEL):
    return CliRunner().invoke(app, ["performance", model, *words, "--store-dir", str(store)])


def told(store, *words: str) -> dict:
    done = performance(store, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_figures_over_all_are_those_of_the_stream(store):
    whole = told(store)["whole"]
    for name, truth in WORLD.truth.items():
        assert whole[name]["low"] <= truth <= whole[name]["high"]
        assert whole[name]["estimated_from"] == "labels"
    assert set(whole["recall_by_family"]) == {"dos", "scan"}


def test_windows_that_are_young_have_no_figure_and_say_why(store):
    said = told(store, "--as-of", day(12))
    young, old = said["windows"][-1], said["windows"][2]
    assert young["recall"]["not_estimated"] == "immature"
    assert 0 <= young["recall"]["maturity"] < 0.5
    assert old["recall"]["low"] < old["recall"]["value"] < old["recall"]["high"]
    assert len(said["windows"]) == 12


def test_scores_estimate_before_labels_and_their_error_comes_with_them(store):
    said = told(store, "--as-of", day(12))
    young, old = said["windows"][-1]["from_scores"], said["windows"][2]["from_scores"]
    assert young["precision"]["estimated_from"] == "scores"
    assert "error" not in young["recall"]
    assert abs(old["recall"]["error"]) < 0.25
    later = told(store, "--as-of", day(40))["windows"][-1]["from_scores"]
    assert later["recall"]["value"] == young["recall"]["value"], "labels change nothing of it"
    assert "error" in later["recall"]


def test_segments_and_longer_windows(store):
    said = told(store, "--window", "6d", "--segment", "proto")
    assert [s["segment"] for s in said["segments"]] == ["tcp", "udp"]
    assert sum(s["rows"] for s in said["segments"]) == said["whole"]["rows"]
    assert len(said["windows"]) in (2, 3)


def test_labels_agree_with_the_scores_of_a_stream_that_does_not_drift(store):
    concept = told(store)["concept"]
    assert concept["p_value"] > 0.01
    assert not concept["is_drift"]


def test_a_table_and_a_page(store, tmp_path):
    done = performance(store, "--as-of", day(12), "--report", str(tmp_path / "p.html"))
    assert done.exit_code == 0, done.output
    assert "immature" in done.stdout
    assert f"the bundle's own: {WORLD.truth['precision']:.3f}" in done.stdout
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert page.count('class="chart"') == 3
    assert '"fill":"toself"' in page


def test_the_share_of_attacks_moves_the_precision_that_is_wanted(store):
    moved = told(store, "--attack-share", "0.01")["baseline"]
    assert moved["is_moved"]
    assert moved["precision"] < told(store)["baseline"]["precision"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--window", "soon"], "--window is 'soon', expected a duration"),
        (["--window", "10ms"], "a window must be at least 1s"),
        (["--window", "1m"], "make them longer"),
        (["--segment", "nothing"], "has the column 'nothing'"),
        (["--since", "2020-01-01", "--until", "2020-01-02"], "no verdict of 'late' in that time"),
        (["--since", "never"], "'never' is not a time"),
    ],
)
def test_what_cannot_be_shown_says_the_way_out(store, words, message):
    done = performance(store, *words)
    assert done.exit_code == 1
    assert message in str(done.exception)


def test_without_labels_it_says_how_to_give_some(tmp_path):
    assert "vedette label give" in str(performance(tmp_path).exception)
