"""Reason codes are found ahead: once for each alert, a few at a time, whatever one of them does."""

from dataclasses import dataclass

import pytest

from operators.console.detections.reason_prefetch import MOST_WAITING, ReasonPrefetch
from tests.waiting import HANG_S


@dataclass(frozen=True)
class Row:
    event: str
    codes: tuple[str, ...] = ()
    rules: str = ""


def test_each_is_explained_once_and_those_with_codes_or_rules_are_not():
    seen = []
    ahead = ReasonPrefetch(lambda row: seen.append(row.event), pause_s=0)
    rows = [Row("a"), Row("b", codes=("X",)), Row("c", rules="r"), Row("d")]
    for _ in range(2):
        ahead.ask(rows)
        assert ahead.wait(HANG_S)
    assert seen == ["a", "d"]


def test_one_that_fails_does_not_keep_the_others_waiting():
    seen = []

    def explain(row):
        seen.append(row.event)
        raise RuntimeError("a model that cannot run")

    ahead = ReasonPrefetch(explain, pause_s=0)
    ahead.ask([Row("a"), Row("b")])
    assert ahead.wait(HANG_S)
    ahead.ask([Row("c")])
    assert ahead.wait(HANG_S)
    assert seen == ["a", "b", "c"]


@pytest.mark.heavy
def test_no_more_wait_than_a_page_may_ask_for():
    seen = []
    ahead = ReasonPrefetch(lambda row: seen.append(row.event), pause_s=0)
    ahead.ask([Row(str(n)) for n in range(1000)])
    assert ahead.wait(HANG_S)
    assert len(seen) == MOST_WAITING
