"""`vedette monitor` alarms when precision or recall falls: once, whatever happens in between."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lifecycle.labels.label_log import LabelLog
from lifecycle.monitoring.alarm import AlarmError, AlarmLog
from lifecycle.monitoring.watch.model_state import Revision, StateError
from lifecycle.performance.delays import DAY_US
from lifecycle.performance.watching import AS_A_RULE
from loadtests.bench.worlds.late_labels import START_US
from operators.cli.monitoring.performance_watch import PerformanceWatch
from serving.models.store import BundleStore
from tests.fakes.monitoring.late_stream import MODEL, WORLD, late_store

pytestmark = pytest.mark.heavy

REVISION = Revision("sha256:" + "0" * 64, "1", START_US)
BETTER = replace(WORLD, apart=4.5)
"""What the bundle says of itself: its precision is that of a model that tells the classes better apart."""
WORSE = replace(WORLD, apart=1.5, alert_rate=0.9, rows_a_day=800)
"""What the stream is."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("fallen") / "store"
    late_store(store, WORSE, days=10, wanted=BETTER)
    return store


@pytest.fixture
def store(filled: Path) -> Path:
    for path in [*filled.glob("monitoring/performance/*.json"), *filled.glob("monitoring/alarms.jsonl")]:
        path.unlink()
    return filled


def watch(store: Path, alarms: AlarmLog | None = None) -> PerformanceWatch:
    def manifest(version: str):
        return BundleStore(store).resolve(MODEL, version).manifest

    labels = LabelLog(store / "labels")
    return PerformanceWatch(store, MODEL, alarms or AlarmLog(store / "monitoring"), AS_A_RULE, labels.read, manifest)


def at(day: float) -> int:
    return int(START_US + day * DAY_US)


def test_a_fall_is_alarmed_once_and_not_again_by_the_next_process(store: Path):
    raised = watch(store).look(REVISION, at(40))
    assert "precision" in {alarm.subject for alarm in raised}
    assert {alarm.kind for alarm in raised} == {"performance"}
    assert all(alarm.severity == "major" for alarm in raised)
    assert watch(store).look(REVISION, at(40)) == ()
    assert watch(store).look(REVISION, at(41)) == ()
    assert [alarm.alarm_id for alarm in AlarmLog(store / "monitoring").read()] == [alarm.alarm_id for alarm in raised]


class _Full(AlarmLog):
    """A file of alarms on a full disk, once."""

    is_full = True

    def add(self, alarm):
        if self.is_full:
            self.is_full = False
            raise AlarmError("no space")
        return super().add(alarm)


def test_an_alarm_that_could_not_be_kept_is_kept_by_the_next_look(store: Path):
    with pytest.raises(AlarmError):
        watch(store, _Full(store / "monitoring")).look(REVISION, at(40))
    raised = watch(store).look(REVISION, at(40))
    assert "precision" in {alarm.subject for alarm in raised}


def test_another_revision_is_watched_anew(store: Path):
    looked = watch(store)
    looked.look(REVISION, at(40))
    looked.look(Revision("sha256:1", "1", at(39)), at(41))
    assert looked.watched is not None
    assert (looked.watched.revision, looked.watched.tests) == ("sha256:1", {})


def test_a_file_that_is_no_state_is_named(store: Path):
    path = store / "monitoring" / "performance" / f"{MODEL}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"watched": 3}), encoding="utf-8")
    with pytest.raises(StateError, match=r"late\.json: is not a valid state"):
        watch(store)


def test_before_anything_answered_there_is_nothing_to_do(store: Path):
    assert watch(store).look(None, at(40)) == ()
