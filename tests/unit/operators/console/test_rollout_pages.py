"""The list of services and the chart of evidence: what needs people first, what fits a screen."""

from datetime import UTC, datetime, timedelta

import pytest

from operators.console.rollouts import acts
from operators.console.rollouts.chart import MOST_POINTS, evidence_chart
from operators.console.rollouts.overview import ON_A_PAGE, ServiceIndex, ServiceLine, list_page
from operators.console.rollouts.view import acts_now
from operators.control.folder import ControlFolder
from operators.control.looks import EvidencePoint
from tests.fakes.console.documents import healthy, put_service, under_way

AT = datetime(2026, 1, 5, tzinfo=UTC)


def points(n, **gates):
    return [EvidencePoint(AT + timedelta(seconds=i), 5.0, 0.0, 1, i, gates or {"errors": (1.0 + i, 0.5)}) for i in range(n)]


def test_what_needs_people_comes_first():
    lines = [
        ServiceLine("a", "Healthy"),
        ServiceLine("b", "Progressing"),
        ServiceLine("c", "Paused"),
        ServiceLine("d", "Aborted"),
    ]
    assert [line.name for line in list_page(lines).lines] == ["c", "d", "b", "a"]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        pytest.param({"text": "DNS"}, ["dns"], id="part of a name, in any case"),
        pytest.param({"text": "approval"}, ["mail"], id="part of what it waits for"),
        pytest.param({"phase": "Paused"}, ["mail"], id="a phase"),
        pytest.param({"text": "<script>"}, [], id="nothing"),
    ],
)
def test_the_list_is_narrowed(asked, names):
    lines = [ServiceLine("dns", "Healthy"), ServiceLine("mail", "Paused", waiting_for="approval: 0 of 2")]
    assert [line.name for line in list_page(lines, **asked).lines] == names


def test_the_list_comes_in_parts_and_a_part_that_is_not_there_is_the_last():
    lines = [ServiceLine(f"s{i:03d}", "Healthy") for i in range(2 * ON_A_PAGE + 1)]
    assert (list_page(lines, page=99).page, len(list_page(lines, page=99).lines)) == (3, 1)
    assert len(list_page(lines, page=0).lines) == ON_A_PAGE


def test_a_service_is_read_again_only_after_something_of_it_was_written(tmp_path):
    put_service(tmp_path, "dns", status=healthy())
    put_service(tmp_path, "mail", status=healthy())
    read = []

    class Counting(ControlFolder):
        def read(self, name):
            read.append(name)
            return super().read(name)

    now = iter(range(10**6))
    index = ServiceIndex(Counting(tmp_path), lambda: float(next(now)))
    for _ in range(3):
        index.lines(within_s=100)
    assert sorted(read) == ["dns", "mail"]
    put_service(tmp_path, "dns", status=under_way())
    assert {line.name: line.phase for line in index.lines(within_s=100)} == {"dns": "Progressing", "mail": "Healthy"}
    assert sorted(read) == ["dns", "dns", "mail"]


def test_a_damaged_service_is_a_line_that_says_so(tmp_path):
    put_service(tmp_path, "dns")
    (tmp_path / "control" / "services" / "dns.yaml").write_text("- no document")
    (line,) = ServiceIndex(ControlFolder(tmp_path)).lines(within_s=100)
    assert line.phase == "Unreadable"


@pytest.mark.parametrize("looks", [0, 1])
def test_fewer_than_two_looks_are_no_line(looks):
    assert evidence_chart(points(looks), 20, 20) is None


@pytest.mark.heavy
def test_a_long_series_is_thinned_and_ends_with_its_newest_look():
    chart = evidence_chart(points(86_400), 20, 20)
    (line,) = chart.panels[0].lines
    assert len(line.points.split()) <= MOST_POINTS + 1
    assert line.last == 86_400.0


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e300], ids=["zero", "tiny", "huge"])
def test_any_e_value_has_a_place_on_the_chart(value):
    chart = evidence_chart(points(3, errors=(value, value)), 20, 20)
    heights = [float(pair.split(",")[1]) for panel in chart.panels for line in panel.lines for pair in line.points.split()]
    assert all(0 <= y <= chart.height for y in heights)


@pytest.mark.parametrize(
    ("status", "verbs"),
    [
        pytest.param(under_way(), ["promote", "pause", "abort"], id="under way"),
        pytest.param(under_way(3, "Paused"), ["pause", "abort"], id="an approval is not skipped"),
        pytest.param(under_way(2, "Paused", pausedBy="bob"), ["resume", "abort"], id="paused by somebody"),
        pytest.param(under_way(2, "Aborted"), ["retry"], id="aborted"),
        pytest.param(healthy(), ["undo"], id="promoted"),
        pytest.param({"phase": "Healthy"}, [], id="nothing to take back"),
    ],
)
def test_a_person_is_offered_what_can_be_done(tmp_path, status, verbs):
    put_service(tmp_path, "dns", status=status)
    assert [one.verb for one in acts_now(ControlFolder(tmp_path).read("dns"))] == verbs


def test_two_people_of_one_name_who_say_the_same_take_turns_so_that_each_is_told_their_own_refusal(monkeypatch):
    monkeypatch.setattr(acts, "HANDLED_WITHIN_S", 0.0)
    with (
        acts.turn("flows", "soc", "promote") as first,
        acts.turn("flows", "soc", "promote") as same,
        acts.turn("flows", "soc", "abort") as other_verb,
        acts.turn("flows", "ana", "promote") as other_name,
    ):
        assert (first, same, other_verb, other_name) == (True, False, True, True)
    with acts.turn("flows", "soc", "promote") as again:
        assert again
    assert not acts._turns, "nothing is kept of turns that are over"
