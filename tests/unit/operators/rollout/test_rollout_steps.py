"""A rollout from look to look: the steps in order, and what stops them."""

import pytest

from operators.rollout.advance import Advance, advance
from operators.rollout.facts import Desired
from operators.rollout.status import Phase, RolloutStatus, Verdict
from tests.fakes.operator.rollouts import A, B, ScriptedJudge, at, observed, tools

HEALTHY = RolloutStatus(phase=Phase.HEALTHY, stable=A, seen=A.digest)


def looks(status: RolloutStatus, desired: Desired, judge: ScriptedJudge, count: int, start: int = 0) -> list[Advance]:
    """`count` looks, five seconds and a hundred requests apart, everything loaded."""
    found = []
    for i in range(start, start + count):
        judge.requests += 100
        judge.mirrored += 100
        found.append(advance(desired, status, observed(5 * i, A, B), (), at(5 * i), tools(judge)))
        status = found[-1].status
    return found


def test_a_good_candidate_is_mirrored_then_gets_5_25_100_percent_and_is_promoted() -> None:
    found = looks(HEALTHY, Desired(revision=B), ScriptedJudge(), 12)
    shares = [(v.mirror, v.weight) for o in found if o.target for v in o.target.variants if v.name == "candidate"]
    assert list(dict.fromkeys(shares)) == [(0, 0), (100, 0), (100, 5), (100, 25), (100, 100)]
    assert (found[-1].status.phase, found[-1].status.stable) == (Phase.HEALTHY, B)


@pytest.mark.parametrize("look", range(1, 6))
def test_a_worse_candidate_has_no_traffic_in_the_same_look(look: int) -> None:
    judge = ScriptedJudge()
    status = looks(HEALTHY, Desired(revision=B), judge, look)[-1].status
    judge.verdict = Verdict.WORSE
    last = looks(status, Desired(revision=B), judge, 1, look)[-1]
    assert (last.status.phase, last.status.weight, last.acts_first) == (Phase.ABORTED, 0, True)
    assert last.target is not None
    assert [(v.revision, v.weight, v.mirror) for v in last.target.variants] == [(B, 0, 0)], "dark, still loaded"
    after = looks(last.status, Desired(revision=B), judge, 1, look + 1)[-1]
    assert after.target is not None
    assert after.target.variants == (), "and let go at the next look"


def test_nothing_is_written_at_rest() -> None:
    judge = ScriptedJudge()
    [rest] = looks(HEALTHY, Desired(revision=A), judge, 1)
    assert rest.status == HEALTHY
