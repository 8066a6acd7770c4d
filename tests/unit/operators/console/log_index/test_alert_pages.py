"""Pages of alerts: together they give each alert once, whatever is appended while they are read."""

import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.console.log_index.alert_queries import AlertFilter, AlertKey
from operators.console.log_index.index_scope import LogScope
from operators.console.log_index.record_queries import RecordFilter, RecordKey
from tests import laws
from tests.fakes.labelled import START_US, record
from tests.unit.operators.console.log_index.worlds import EVERYTHING, IndexedStore, alert

times = st.lists(st.integers(0, 6), min_size=0, max_size=12)


@pytest.mark.heavy
@given(times, st.lists(times, max_size=4), st.integers(1, 4))
@laws.examples(20)
def test_pages_together_give_each_alert_once_while_others_are_appended(first, appended, most):
    """Times are few, so many are the same; what is appended may be older than what is there, as another replica's is."""
    with tempfile.TemporaryDirectory() as folder:
        store = IndexedStore(Path(folder))
        number = 0

        def write(numbers):
            nonlocal number
            for at in numbers:
                number += 1
                store.write(alert(at, receipt=f"r-{number:x}"), log=f"{number % 3 + 1}-aa")
            store.look()

        write(first)
        there = set(store.events())
        assert len(there) == len(first)
        found, behind, waiting = [], None, list(appended)
        while True:
            page = store.alerts.page(AlertFilter(), EVERYTHING, behind=behind, most=most)
            found += [(row.time_us, row.event) for row in page.rows]
            if not page.has_older:
                break
            behind = page.rows[-1].key
            if waiting:
                write(waiting.pop())
        events = [event for _, event in found]
        assert len(events) == len(set(events)), "no alert twice"
        assert there <= set(events), "each that was there at the start"
        assert found == sorted(found, reverse=True), "newest first"


def test_a_page_back_gives_what_was_there_before(tmp_path):
    store = IndexedStore(tmp_path)
    store.write(*(alert(n) for n in range(10)))
    store.look()
    first = store.alerts.page(AlertFilter(), EVERYTHING, most=3)
    second = store.alerts.page(AlertFilter(), EVERYTHING, behind=first.rows[-1].key, most=3)
    store.write(alert(11), alert(12))
    store.look()
    back = store.alerts.page(AlertFilter(), EVERYTHING, before=second.rows[0].key, most=3)
    assert [r.event for r in back.rows] == [r.event for r in first.rows]
    assert (first.has_newer, first.has_older, back.has_newer, back.has_older) == (False, True, True, True)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(AlertFilter(), ["r-4", "r-0"], id="alerts by themselves"),
        pytest.param(AlertFilter(verdict=""), ["r-4", "r-3", "r-2#1", "r-0"], id="any verdict that is not benign"),
        pytest.param(AlertFilter(verdict="unknown"), ["r-3"], id="one verdict"),
        pytest.param(AlertFilter(model="dns"), ["r-4"], id="one model"),
        pytest.param(
            AlertFilter(verdict="", since_us=START_US + 2_000_000, until_us=START_US + 4_000_000), ["r-3", "r-2#1"], id="a time"
        ),
        pytest.param(AlertFilter(is_unlabelled=True), ["r-4"], id="without a label"),
        pytest.param(AlertFilter(entities=()), [], id="an entity that nobody can name"),
    ],
)
def test_filters(tmp_path, wanted, expected):
    store = IndexedStore(tmp_path)
    store.label("r-0", "attack", START_US)
    store.write(
        alert(0),
        record(1),
        record(2, verdicts=("benign", "investigate")),
        record(3, verdicts=("unknown",)),
        alert(4, model="dns"),
    )
    store.look()
    assert store.events(wanted) == expected


def test_new_alerts_are_counted_for_a_filter_and_a_bound(tmp_path):
    store = IndexedStore(tmp_path)
    store.write(alert(0))
    store.look()
    newest = store.alerts.page(AlertFilter(), EVERYTHING).newest
    store.write(alert(1), alert(2, model="dns"), *(alert(n) for n in range(3, 150)))
    store.look()
    assert store.alerts.new_since(newest, AlertFilter(model="dns"), EVERYTHING) == 1
    assert store.alerts.new_since(newest, AlertFilter(), EVERYTHING) == 100
    assert store.alerts.unlabelled(AlertFilter(model="dns"), EVERYTHING) == 1


def test_a_tenant_sees_its_own_records_and_no_act_or_label(tmp_path):
    store = IndexedStore(tmp_path)
    blue = LogScope(tenants=frozenset({"blue"}))
    store.write(msgspec.structs.replace(alert(0), tenant="blue"), msgspec.structs.replace(alert(1), tenant="red"), alert(2))
    store.act(START_US, "rollout.promote", "modelservice/default/flows")
    store.label("r-1", "attack", START_US)
    store.look()
    assert store.events(scope=blue) == ["r-0"]
    assert store.alerts.one("r-1", blue) is None
    assert [row.about for row in store.records.page(RecordFilter(), blue).rows] == ["r-0"]
    assert store.records.of_receipt("r-2", blue) == []
    assert len(store.records.page(RecordFilter(), EVERYTHING).rows) == 5


def test_a_person_narrowed_to_models_sees_these(tmp_path):
    store = IndexedStore(tmp_path)
    only_dns = LogScope(may_see_model=lambda model: model == "dns")
    store.write(alert(0), alert(1, model="dns"))
    store.look()
    assert store.events(scope=only_dns) == ["r-1"]
    assert store.alerts.models(only_dns) == ["dns"]
    assert store.events(scope=LogScope(may_see_model=lambda model: False)) == []


@pytest.mark.heavy
@given(st.lists(st.tuples(st.sampled_from(["act", "answer", "label"]), st.integers(0, 3)), max_size=10), st.integers(1, 3))
@laws.examples(15)
def test_pages_of_records_give_each_record_of_all_logs_once(entries, most):
    with tempfile.TemporaryDirectory() as folder:
        store = IndexedStore(Path(folder))
        for number, (kind, at) in enumerate(entries):
            time_us = START_US + at * 1_000_000
            if kind == "act":
                store.act(time_us, "rollout.promote", f"modelservice/default/{number}")
            elif kind == "label":
                store.label(f"e-{number}", "attack", time_us)
            else:
                store.write(record(at, receipt=f"r-{number}"))
        store.look()
        found, behind = [], None
        while True:
            page = store.records.page(RecordFilter(), EVERYTHING, behind=behind, most=most)
            found += [row.key for row in page.rows]
            if not page.has_older:
                break
            behind = RecordKey.decode(page.rows[-1].key.encoded())
        assert len(found) == len(set(found)) == len(entries)
        assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("text", ["", "x", "!!!", "AAAA", "é", "OTk5OTk5OTk5OTk5OTk5OTk5OTkgeA"])
def test_an_address_that_names_no_place_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        AlertKey.decode(text)
    with pytest.raises(ValueError, match=r"."):
        RecordKey.decode(text)
