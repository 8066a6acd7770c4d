"""What a change of the spec leads to: at rest, and while a rollout is under way. The ids, read alone, are the rules."""

from typing import Any

import pytest

from operators.rollout.decide import decide
from operators.rollout.facts import Desired, Loading
from operators.rollout.moves import Abort, Hold, Move, NoteSpec, Start, Undo
from operators.rollout.status import Assessment, Phase, RolloutStatus, Verdict
from tests.fakes.operator.rollouts import HALF, LOADED, POLICY, A, B, C, at, facts, revision, under_way

V = Verdict


def decided(status: RolloutStatus, verdict: Verdict = V.UNDECIDED, seconds: float = 0, **more: Any) -> Move:
    policy = status.policy or POLICY
    return decide(policy, status, Assessment(verdict=verdict, reason=f"it is {verdict}"), facts(**more), (), at(seconds))


WINDOW = {"former": A, "promoted_at": at(0)}
HEALTHY = RolloutStatus(phase=Phase.HEALTHY, stable=B, seen=B.digest)
RESTS = [
    pytest.param(HEALTHY, B, LOADED, 0, Hold, id="the same revision: nothing to do"),
    pytest.param(HEALTHY, None, LOADED, 0, Hold, id="no revision asked: nothing to do"),
    pytest.param(HEALTHY, C, LOADED, 0, Start, id="another revision is a rollout"),
    pytest.param(
        HEALTHY, B.model_copy(update={"thresholds": {"siem_alerting": 0.9}}), LOADED, 0, Start, id="so is another threshold"
    ),
    pytest.param(HEALTHY, B.model_copy(update={"operating_point": "x"}), LOADED, 0, Start, id="so is another operating point"),
    pytest.param(
        HEALTHY.model_copy(update={"phase": Phase.ABORTED, "seen": C.digest}),
        C,
        LOADED,
        0,
        Hold,
        id="what was aborted is not tried again by itself",
    ),
    pytest.param(
        HEALTHY.model_copy(update={"phase": Phase.ABORTED, "seen": C.digest}), A, LOADED, 0, Start, id="but a new revision is"
    ),
    pytest.param(
        HEALTHY.model_copy(update={"phase": Phase.ABORTED, "seen": C.digest}),
        B,
        LOADED,
        0,
        NoteSpec,
        id="stable again settles it",
    ),
    pytest.param(
        HEALTHY.model_copy(update={"stable_wanted": C}), C, LOADED, 0, NoteSpec, id="stable by another threshold is stable"
    ),
    pytest.param(HEALTHY.model_copy(update=WINDOW), A, LOADED, 86399, Undo, id="the former stable, within its window, at once"),
    pytest.param(HEALTHY.model_copy(update=WINDOW), A, LOADED, 86400, Start, id="after its window it takes the steps"),
    pytest.param(
        HEALTHY.model_copy(update=WINDOW), A, HALF, 0, Start, id="within its window, but not loaded everywhere: loading first"
    ),
    pytest.param(HEALTHY.model_copy(update=WINDOW), C, LOADED, 0, Start, id="a third revision takes the steps"),
]


@pytest.mark.parametrize(("status", "asked", "former", "seconds", "expected"), RESTS)
def test_what_the_spec_asks_for_at_rest(
    status: RolloutStatus, asked: Any, former: Loading, seconds: float, expected: type[Move]
) -> None:
    found = decided(status, seconds=seconds, desired=Desired(revision=asked), former=former)
    assert type(found) is expected
    if isinstance(found, Start):
        assert found.is_full is (former is HALF), "only a former stable within its window is spared the steps"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(B, Hold, id="the candidate: it goes on"),
        pytest.param(C, Start, id="a third revision supersedes it"),
        pytest.param(A, Abort, id="stable again takes it back"),
    ],
)
def test_what_the_spec_asks_for_under_way(asked: Any, expected: type[Move]) -> None:
    found = decided(under_way("analysis"), desired=Desired(revision=asked, by="grace"))
    assert type(found) is expected
    if isinstance(found, Abort):
        assert (found.seen, found.is_settled, found.by) == (A.digest, True, "grace")


def test_the_candidate_asked_for_by_its_own_spec_is_only_noted() -> None:
    wanted = under_way("analysis", candidate=revision("b", None), candidate_wanted=B, seen=C.digest)
    assert decided(wanted) == NoteSpec(seen=B.digest, reason="the spec asks for the candidate")


def test_worse_evidence_counts_before_a_new_revision() -> None:
    assert isinstance(decided(under_way("analysis"), V.WORSE, desired=Desired(revision=C)), Abort)


def test_an_abort_of_what_the_spec_asks_for_is_not_settled_but_one_of_an_undo_is() -> None:
    assert decided(under_way(), V.WORSE).is_settled is False  # type: ignore[attr-defined]
    assert decided(under_way(seen=A.digest), V.WORSE, desired=Desired(revision=A)).is_settled is True  # type: ignore[attr-defined]
    assert decided(under_way(), V.WORSE, desired=Desired(revision=None)).is_settled is False  # type: ignore[attr-defined]
